"""A browser for the tests of the page, and an endpoint that says what it is told to."""

import numpy as np
import pytest
from PIL import Image

from browser import Browser
from scripted_endpoint import scripted


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for a file of tests."""
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def closed_afterwards(browser):
    """No tab stays open: what runs in them costs time."""
    yield
    browser.close_pages()


@pytest.fixture
def endpoint():
    """An endpoint without a model."""
    with scripted() as endpoint:
        yield endpoint


@pytest.fixture
def pictures(tmp_path):
    """A PNG of noise, a JPEG, and what is no picture."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.new("RGB", (48, 32), "red").save(tmp_path / "red.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path

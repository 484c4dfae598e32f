"""A browser for the tests of the page, and an endpoint that says what it is told to."""

import pytest

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

"""Corruptions keep the size, grow with severity, and depend on what they are given alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from vitrail.data.corruptions.pictures import PICTURES, corrupt_picture
from vitrail.data.corruptions.texts import TEXTS, corrupt_text

TEXT = "What is the colour of the second house from the left in this picture?"


def photo():
    """A picture with structure: a noise field, enlarged."""
    return Image.open(io.BytesIO(picture(3, (8, 6)).bytes)).resize((64, 48), Image.Resampling.BICUBIC)


def damage(kind, severity):
    before = photo()
    after = corrupt_picture(before, kind, severity, np.random.default_rng(5))
    assert after.size == before.size and after.mode == "RGB"
    return float(np.abs(np.asarray(after, float) - np.asarray(before, float)).mean())


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_suffers_more_the_severer_it_is(kind):
    one, five = damage(kind, 1), damage(kind, 5)
    assert 0 < one < five and damage(kind, 3) == damage(kind, 3)


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_changes(kind):
    once = corrupt_text(TEXT, kind, 3, np.random.default_rng(1))
    assert once != TEXT and once == corrupt_text(TEXT, kind, 3, np.random.default_rng(1))
    assert corrupt_text("", kind, 5, np.random.default_rng(1)).strip() != TEXT
    if kind != "add_asides":
        assert len(once) <= len(TEXT)
    else:
        assert once.endswith(TEXT)


def test_unknown_kinds_and_severities_are_refused():
    with pytest.raises(ValueError, match="kind is 'rain'"):
        corrupt_picture(photo(), "rain", 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="severity 6"):
        corrupt_text(TEXT, "mistype", 6, np.random.default_rng(0))

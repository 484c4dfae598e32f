"""Changes by name: shrunk, corrupted, joined; the same question is changed the same way every time."""

from __future__ import annotations

import pytest

from conftest import picture
from vitrail.data.records import Chat, Message, Text
from vitrail.evaluation.transforms import transform, transform_of


def asked(size=(80, 40)):
    return Chat(
        messages=(Message(role="user", content=(picture(1, size), Text(text="What is in this picture?"))),)
    )


def test_pictures_are_shrunk_and_small_ones_stay():
    chat = transform("side-20")(asked(), None)
    assert chat.images[0].open().size == (20, 10) and chat.messages[0].text == asked().messages[0].text
    assert transform("side-80")(asked(), None) == asked()


def test_corruptions_touch_pictures_or_texts_and_repeat():
    noisy, typed = transform("gaussian_noise-3"), transform("mistype-4")
    assert noisy(asked(), None) == noisy(asked(), None) != asked()
    assert noisy(asked(), None).messages[0].text == asked().messages[0].text
    assert typed(asked(), None).images == asked().images
    assert typed(asked(), None).messages[0].text != asked().messages[0].text
    both = transform("gaussian_noise-3+mistype-4")(asked(), None)
    assert both == typed(noisy(asked(), None), None)


def test_a_condition_that_names_a_change_is_changed_so():
    assert transform_of("side-64") == "side-64" and transform_of("trained") == "as_is"
    assert transform_of("untrained-blind") == "blind"
    for wrong, words in (
        ("rain-3", "transform is 'rain-3'"),
        ("fog-9", "severity is a number from 1 to 5"),
        ("gausian_noise-1", "did you mean 'gaussian_noise'"),
        ("side-0", "leaves no picture"),
    ):
        with pytest.raises(ValueError, match=words):
            transform(wrong)

import builtins

import numpy as np
import pytest

from vitrail.data.sprites import library
from vitrail.data.sprites.openmoji import LANGUAGES, OpenMoji, read_table


@pytest.fixture(scope="module")
def openmoji():
    return library("openmoji")


def test_table_is_sound():
    things = read_table()
    names, kinds = {thing.name for thing in things}, {thing.kind for thing in things}
    assert 450 <= len(things) <= 650 and 12 <= len(kinds) <= 24
    assert len(names) == len(things) == len({thing.key for thing in things})
    for thing in things:
        assert thing.name == thing.name.lower().strip() and thing.name
        assert thing.number in ("one", "several", "mass")
        assert bool(thing.plural) == (thing.number == "one"), thing.name
        assert thing.also <= names | kinds, f"{thing.name}: {thing.also - names - kinds}"
        assert thing.kind not in thing.also and thing.name not in thing.also
    for kind in kinds:
        assert sum(thing.kind == kind for thing in things) >= 7, kind


def test_every_drawing_is_there_and_some_render(openmoji):
    assert all(openmoji.content(thing).startswith(b"<svg") for thing in openmoji.values())
    for name in ("banana", "red apple", "ladder"):
        sprite = openmoji.render(name, 120)
        assert max(sprite.shape[:2]) == 120 and (sprite[..., 3] > 200).mean() > 0.1
        assert np.array_equal(sprite, OpenMoji().render(name, 120))


def test_colours_as_seen(openmoji):
    expected = {"red apple": "red", "green apple": "green", "lemon": "yellow", "whale": "blue", "pig": "pink",
                "grapes": "purple", "bear": "brown", "elephant": "gray", "bat": "black", "sheep": "white",
                "carrot": "orange", "hamburger": None, "parrot": "red", "ant": None}  # fmt: skip
    assert {name: openmoji.colour(name) for name in expected} == expected


def test_names_in_fourteen_languages(openmoji):
    assert len(LANGUAGES) == 14
    assert openmoji.translated("cow", "es") == "vaca"
    assert openmoji.translated("elephant", "de") == "elefant"
    for language in LANGUAGES:
        known = sum(openmoji.translated(name, language) is not None for name in openmoji.names)
        assert known > 0.9 * len(openmoji), language
    with pytest.raises(ValueError, match="language is 'xx'"):
        openmoji.translated("cow", "xx")


def test_missing_package_names_the_extra(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name == "resvg_py":
            raise ImportError("No module named 'resvg_py'", name="resvg_py")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"resvg_py: pip install 'vitrail\[scenes\]'"):
        OpenMoji()

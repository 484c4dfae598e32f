"""The drawing: every part in both layouts, inside its borders, lit where it is changed."""

import itertools

import pytest

from vitrail.papers.vocabulary import ANATOMY
from vitrail.serving.atlas.anatomy import drawings, spoken


@pytest.mark.parametrize("which", [0, 1], ids=["wide", "tall"])
def test_every_part_once_and_none_upon_another(which):
    drawing = drawings(["connector"])[which]
    assert sorted(part.name for part in drawing.parts) == sorted(ANATOMY)
    assert [part.name for part in drawing.parts if part.lit] == ["connector"]
    for part in drawing.parts:
        assert part.x >= 0 and part.y >= 0
        assert part.x + part.width <= drawing.width and part.y + part.height <= drawing.height
        assert part.width >= 8 * len(part.label) or part.name == "loop", part.label
    for a, b in itertools.combinations(drawing.parts, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart, (a.name, b.name)


def test_what_a_screen_reader_says():
    assert spoken(["language.head", "data"]).endswith("Lit: data, head.")
    assert spoken([]).endswith("Lit: no part of a model.")


def test_a_part_that_is_not_there():
    with pytest.raises(ValueError, match="the anatomy has no part 'eye'"):
        drawings(["eye"])

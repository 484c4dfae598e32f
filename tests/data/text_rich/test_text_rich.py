"""Pictures of known values: the answer is in the picture, wrong options are not given away, items stand alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vitrail.data.text_rich import TextRich
from vitrail.data.text_rich.source import ASKED, Layout


def test_items_depend_on_their_index_alone():
    source = TextRich(12, seed=3, side=96)
    assert source[7] == TextRich(40, seed=3, side=96)[7] != TextRich(12, seed=4, side=96)[7]
    assert {record.meta["kind"] for record in source} == {"chart", "map", "web"}
    assert len({record.id for record in source}) == 12
    assert source[0].images[0].open().size == (96, 96)


def test_questions_have_four_options_and_no_favoured_letter():
    records = list(TextRich(120, side=32))
    letters = Counter(record.choices.answer for record in records)
    assert all(len({part.text for (part,) in record.choices.options}) == 4 for record in records)
    assert max(letters.values()) < 50 and len(letters) == 4
    subtypes = {record.meta["groups"]["subtype"] for record in records}
    assert subtypes == {
        "chart: value",
        "chart: highest",
        "map: square",
        "map: place",
        "web: price",
        "web: item",
    }


def test_the_text_is_in_the_picture():
    """Another value at the same place is another picture: the answer is drawn, not only asked."""
    from vitrail.data.text_rich.drawings import bars, page, town

    pairs = [
        (bars({"Figs": 40, "Nuts": 80}, "Stock", 200), bars({"Figs": 41, "Nuts": 80}, "Stock", 200)),
        (town({(0, 0): "Arden"}, 3, 200), town({(0, 1): "Arden"}, 3, 200)),
        (page("Old Mill", [("Lamp", "10 EUR")], 200), page("Old Mill", [("Lamp", "12 EUR")], 200)),
    ]
    for one, two in pairs:
        assert np.abs(np.asarray(one, int) - np.asarray(two, int)).max() > 100


@pytest.mark.parametrize("entries", [1, 2, 3, 4])
def test_fewer_entries_in_larger_letters(entries):
    """Options are those of the picture first; one letter more or less is another picture, as small as it is."""
    layout = Layout(entries=entries, letters=2.5, most=30)
    records = list(TextRich(60, seed=1, side=64, layout=layout))
    for record in records:
        options = [part.text for (part,) in record.choices.options]
        assert len(set(options)) == 4
        numbers = [int(one.split()[0]) for one in options if one.split()[0].isdigit()]
        assert all(10 <= number <= 30 for number in numbers)
    letters = Counter(record.choices.answer for record in records)
    assert max(letters.values()) < 30 and len(letters) == 4
    assert TextRich(60, side=64, layout=layout).fingerprint != TextRich(60, side=64).fingerprint


def test_what_is_asked_can_be_chosen():
    layout = Layout(asks=("place", "price", "highest"))
    asked = {record.meta["groups"]["subtype"] for record in TextRich(24, side=64, layout=layout)}
    assert asked == {"map: place", "web: price", "chart: highest"}
    assert TextRich(9, side=64)[4] == TextRich(9, side=64, layout=Layout())[4]
    assert {len(some) for some in ASKED.values()} == {2}


def test_large_letters_are_large():
    from vitrail.data.text_rich.drawings import bars, page, town

    for draw in (
        lambda letters: bars({"Figs": 40}, "Stock", 64, letters),
        lambda letters: town({(0, 0): "Arden"}, 2, 64, letters),
        lambda letters: page("Old Mill", [("Lamp", "10 EUR")], 64, letters),
    ):
        ink = [int((np.asarray(draw(letters).convert("L")) < 100).sum()) for letters in (1.0, 3.0)]
        assert ink[0] < ink[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entries": 5}, "entries is 5; a picture has 1 to 4"),
        ({"letters": 9.0}, "letters is 9.0"),
        ({"most": 12}, "most is 12"),
        ({"asks": ("colour",)}, r"asks has \['colour'\]; use some of value, highest"),
    ],
)
def test_wrong_layouts_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Layout(**settings)
    with pytest.raises(ValueError, match="asks has nothing about map; add one of square, place"):
        TextRich(layout=Layout(asks=("price", "value")))


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="categories has"):
        TextRich(categories=("photo",))
    with pytest.raises(ValueError, match="side 8"):
        TextRich(side=8)

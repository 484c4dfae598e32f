"""Pictures of known values: the answer is in the picture, wrong options are not given away, items stand alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vitrail.data.text_rich import TextRich


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


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="categories has"):
        TextRich(categories=("photo",))
    with pytest.raises(ValueError, match="side 8"):
        TextRich(side=8)

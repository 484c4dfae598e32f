"""Needles: the whole place, or a part of it; what is asked of them is true of the pictures."""

from __future__ import annotations

from collections import Counter

import pytest

from vitrail.data.scenes import suite
from vitrail.data.scenes.needles import PARTS, Needles

SUITE = "nano-scenes-v1"


def made(n=64, **settings):
    return Needles(suite(SUITE), "test", 0, n, "known", **settings)


def needle(record):
    """The place of the thing that a question names, from the scene that was stitched there."""
    options = [part.text for (part,) in record.choices.options]
    return options[record.choices.answer], record.meta["scene"]["objects"][0]["name"]


def test_parts_agree_with_the_whole_place():
    """The same draws, asked in parts and whole: rows, columns and pictures are those of the place."""
    whole = made(images=2, cells=2, kinds=("needle",))
    parts = {part: made(images=2, cells=2, kinds=(part,)) for part in ("index", "row", "column")}
    words = {"index": ("the first", "the second"), "row": ("top", "bottom"), "column": ("left", "right")}
    for item in range(3):
        place, name = needle(whole[item])
        numbers = [int(one) for one in place.split(", ")]
        for (part, source), number in zip(parts.items(), numbers, strict=True):
            answer, same = needle(source[item])
            assert answer == words[part][number - 1] and same == name
            assert name in source[item].messages[0].text
            assert source[item].images == whole[item].images


def test_existence_takes_turns_and_tells_the_truth():
    source, whole = made(images=1, cells=2, kinds=("existence",)), made(images=1, cells=2)
    for item in range(4):
        answer, name = needle(source[item])
        assert answer == ("yes" if item % 2 == 0 else "no")
        assert (name in source[item].messages[0].text) == (answer == "yes")
        assert source[item].images == whole[item].images


def test_turned_round_the_thing_is_asked_for():
    which, cell = made(images=1, cells=2, kinds=("which",)), made(images=1, cells=2, kinds=("cell",))
    whole = made(images=1, cells=2, kinds=("needle",))
    for item in range(4):
        place, name = needle(whole[item])
        told, same = needle(cell[item])
        _, row, col = place.split(", ")
        assert told.endswith(name) and same == name
        assert f"row {row}, column {col}" in cell[item].messages[0].text
        assert needle(which[item])[0] == told and which[item].images == cell[item].images
        there = {part.text for (part,) in cell[item].choices.options}
        others = {part.text for (part,) in which[item].choices.options} - {told}
        assert len(there) == 4 and len(others) == 3 and not others & there


def test_no_answer_is_favoured():
    rows = made(n=64, images=1, cells=2, kinds=tuple(part for part in PARTS if part != "index"))
    which = made(n=40, images=2, cells=1, kinds=("index",))
    told = Counter((record.meta["kind"], needle(record)[0]) for source in (rows, which) for record in source)
    assert len(told) == 8 and max(told.values()) <= 27 and min(told.values()) >= 6


def test_parts_are_asked_by_name_alone():
    assert {record.meta["kind"] for record in made(n=4)} == {"needle", "no needle"}
    assert made(kinds=("row",)).fingerprint != made().fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ("where",)}, r"kinds has \['where'\]; use some of needle, no needle, existence"),
        ({"kinds": ("index",), "images": 1}, "kinds has 'index' and images is 1; it can be 2 to 5"),
        ({"kinds": ("row",), "cells": 3}, "kinds has rows or columns and cells is 3"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        made(**settings)

"""Haystacks: cells that can be cut out again, needles that are there or are not, places drawn evenly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from conftest import picture
from vitrail.data.haystacks import build_haystack, grids, sequences, stitch

POOL = [f"{number}.jpg" for number in range(60)]


def test_a_cell_is_its_picture_pixel_for_pixel():
    images = [picture(seed, (20, 30)).open() for seed in range(9)]
    whole = stitch(images, 3, 16)
    for place, image in enumerate(images):
        row, col = divmod(place, 3)
        cut = whole.crop((col * 16, row * 16, col * 16 + 16, row * 16 + 16))
        assert np.array_equal(np.asarray(cut), np.asarray(image.convert("RGB").resize((16, 16))))


def test_needles_are_there_or_are_not():
    metadata = grids(POOL, 2, 40)
    for k in (1, 2):
        records = sequences(metadata, POOL, 3, 2, k, 200)
        for record in records:
            columns = [record[name] for name in ("index", "row", "col", "target")]
            places = list(zip(*columns, strict=True)) if k > 1 else [tuple(columns)]
            assert len(set(places)) == k and len({one[3] for one in places}) == k
            shown = {name for image in record["image_ids"] for name in metadata[image].values()}
            for index, row, col, target in places:
                if record["id"] < 100:
                    assert metadata[record["image_ids"][index]][f"{row}_{col}"] == target
                else:
                    assert (index, row, col) == (-1, -1, -1) and target not in shown
    assert records == sequences(metadata, POOL, 3, 2, 2, 200)


def test_places_are_drawn_evenly():
    records = sequences(grids(POOL, 2, 500), POOL, 2, 2, 1, 10_000)[:5000]
    counts = Counter((one["index"], one["row"], one["col"]) for one in records)
    assert len(counts) == 8 and chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda folder: stitch([], 0), "do not fill"),
        (lambda folder: grids(POOL[:3], 2, 1), "needs 4"),
        (lambda folder: sequences(grids(POOL, 2, 4), POOL[:8], 2, 2, 1, 4), "= 9 are needed"),
        (lambda folder: sequences(grids(POOL, 2, 1), POOL, 2, 2, 1, 4), "a sequence has 2"),
        (lambda folder: build_haystack(folder, {"a": (None, " ")}, 1, 1), "caption of 'a' is empty"),
    ],
)
def test_bad_input(tmp_path, call, words):
    with pytest.raises(ValueError, match=words):
        call(tmp_path)

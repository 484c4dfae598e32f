"""MMNeedle: the official layout, strict and lenient readings, figures of answers that are known, broken files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from official_files import mmneedle
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.mmneedle import MMNeedle
from vitrail.evaluation.needles import cell_map, needle_figures, score_needle, truth


def opened(folder, **settings):
    return MMNeedle(MMNeedle.Config(path=str(folder), **{"m": 2, "n": 2, **settings})).source()


def rows(source, say):
    return [
        {
            "id": one.id,
            "kind": one.kind,
            "cluster": one.id,
            "groups": dict(one.groups),
            "reference": one.reference,
            "text": say(one),
            "correct": False,
        }
        for one in source.questions
    ]


def values(some):
    return {one.name: one.value for one in needle_figures(some)}


@pytest.mark.parametrize("k", [1, 2])
def test_right_answers_and_denials(tmp_path, k):
    folder, _ = mmneedle(tmp_path, k=k, count=10)
    source = opened(folder, k=k)
    assert len(source) == 10 and source.questions[-1].reference == "-1" and not source.set_aside.rows
    best = values(rows(source, lambda one: one.reference))
    assert {
        best[name] for name in ("exact", "index", "existence", "existence, absent needles", "lenient: exact")
    } == {1}
    denied = values(rows(source, lambda one: "-1."))
    assert (denied["existence"], denied["existence, absent needles"], denied["exact"]) == (0, 1, 0)
    if k == 2:
        assert best["exact, each needle"] == best["exact, first needle"] == 1
        again = values(rows(source, lambda one: "-1; -1"))
        assert again["existence"] == 0 and again["existence, absent needles"] == 1


def test_figures_of_single_needles(tmp_path):
    folder, _ = mmneedle(tmp_path, count=40)
    source = opened(folder)
    some = rows(source, lambda one: "1, 1, 1")
    found = {one.name: one for one in needle_figures(some)}
    assert found["exact"].value <= found["index"].value <= found["existence"].value == 1
    assert found["exact"].random == pytest.approx(1 / 8) and found["index"].random == pytest.approx(1 / 2)
    depths = [found["exact in image 1"], found["exact in image 2"]]
    assert sum(one.n for one in depths) == found["exact"].n == 20 and depths[1].value == 0
    shares, counts = cell_map(some)
    weighted = np.nansum(shares * counts) / counts.sum()
    assert counts.sum() == 20 and weighted == pytest.approx(found["exact"].value)


def test_strict_and_lenient():
    assert truth([0], [1], [2]) == "1, 2, 3" and truth([-1], [-1], [-1]) == "-1"
    for text in ("1, 2, 3.", "1, 2, 3\n", " 1, 2, 3"):
        assert score_needle(text, "1, 2, 3").exact
    assert not score_needle("1,2,3", "1, 2, 3").exact and score_needle("1,2,3", "1, 2, 3", lenient=True).exact
    assert score_needle("Image 1, row 2, column 3", "1, 2, 3", lenient=True).exact
    with pytest.raises(ValueError, match="counts from 0"):
        score_needle("1, 1, 1", "0, 1, 1")


def test_asked_in_words_of_a_model(nano, tmp_path):
    folder, _ = mmneedle(tmp_path / "data", count=4)
    task = Task(
        name="needle",
        scenario={
            "name": "benchmark",
            "benchmark": "mmneedle",
            "path": str(folder),
            "settings": {"m": 2, "n": 2},
        },
        **{**MMNeedle.parts(None), "inferencer": {"name": "generate", "max_new_tokens": 4}},
    )
    found = score(run_task(task, nano, tmp_path))
    assert found.official.answered == 4 and found.official.figures[0].name == "exact"
    record = task.part("scenario").source()[0]
    assert "Caption: a picture of number" in record.messages[0].text and len(record.messages[0].content) == 3


def test_a_composed_needle_is_ranked_over_all_places(nano, tmp_path):
    task = Task(
        name="needles",
        scenario={
            "name": "benchmark",
            "benchmark": "offline_needles",
            "settings": {"n": 6, "suite": "nano-scenes-v1", "images": 1},
        },
    )
    official = score(run_task(task, nano, tmp_path)).official
    assert official["exact"].random == pytest.approx(1 / 5) and official["existence"].random == pytest.approx(
        4 / 5
    )
    assert official["existence, absent needles"].n == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"index": 2}, "index: is 2; places count from 0 to 1"),
        ({"target": "COCO_val2014_000000000999.jpg"}, "but the metadata has"),
        ({"image_ids": ["COCO_val2014_stitched_0000.jpg"]}, "has 1 images; m is 2"),
        ({"image_ids": ["x.jpg", "y.jpg"]}, "is not in the metadata"),
        ({"row": None}, "row: is missing"),
    ],
)
def test_broken_rows_are_named(tmp_path, change, words):
    folder, records = mmneedle(tmp_path)
    records[0] |= change
    (folder / "metadata_stitched/annotations_2_2_2.json").write_text(json.dumps(records))
    source = opened(folder)
    assert len(source) == 7 and words in str(source.set_aside.rows[0])


def test_missing_files_are_named(tmp_path):
    folder, _ = mmneedle(tmp_path)
    with pytest.raises(ValueError, match="annotations_10_2_2"):
        opened(folder, m=10)
    (folder / "captions_val2014.json").unlink()
    with pytest.raises(ValueError, match="captions_val2014"):
        opened(folder)

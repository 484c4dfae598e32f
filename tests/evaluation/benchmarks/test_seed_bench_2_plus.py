"""SEED-Bench-2-Plus: either case of keys, three types, their mean beside all together."""

from __future__ import annotations

import pytest

from official_files import seed_bench_2_plus, seed_plus_row
from vitrail.evaluation.benchmarks.seed_bench_2_plus import SeedBench2Plus
from vitrail.evaluation.figures import with_baselines


def opened(folder):
    return SeedBench2Plus(SeedBench2Plus.Config(path=str(folder))).source()


def lowered(row):
    return {name.lower(): value for name, value in row.items()}


def test_either_case_gives_the_same_questions(tmp_path):
    rows = [seed_plus_row(n, kind) for n, kind in enumerate(("Chart", "Map", "Web", "map"))]
    capital = opened(seed_bench_2_plus(tmp_path / "a", rows))
    small = opened(seed_bench_2_plus(tmp_path / "b", [lowered(row) for row in rows]))
    assert [one.model_dump() for one in capital] == [one.model_dump() for one in small]
    assert [question.kind for question in capital.questions] == ["chart", "map", "web", "map"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question_image_type": None}, "question_image_type: is missing"),
        ({"question_image_type": "photo"}, "known: chart, map, web"),
        ({"answer": "F"}, "the options are A to D"),
        ({"choice_a": "x"}, "is there twice, in other case"),
        ({"data_id": "gone.png"}, "'gone.png' is missing"),
    ],
)
def test_broken_rows_are_named(tmp_path, changes, words):
    from official_files import write_json

    seed_bench_2_plus(tmp_path, [seed_plus_row(0), seed_plus_row(1)])
    write_json(tmp_path / "SEED-Bench-2-plus.json", [seed_plus_row(0), {**seed_plus_row(1), **changes}])
    assert words in str(opened(tmp_path).set_aside.rows[0])
    rows = [seed_plus_row(0), seed_plus_row(1)]
    del rows[1]["choice_C"]
    write_json(tmp_path / "SEED-Bench-2-plus.json", rows)
    assert "choice_c: is missing" in str(opened(tmp_path).set_aside.rows[0])


def answered(source, right):
    rows = []
    for place, question in enumerate(source.questions):
        options = [option.text for option in question.options]
        about = {"kind": question.kind, "groups": dict(question.groups), "cluster": question.cluster}
        rows.append(
            {**about, "options": options, "answer": question.answer, "correct": right(place, question)}
        )
    return rows


def test_the_headline_is_the_mean_of_types(tmp_path):
    kinds = ["Chart"] * 5 + ["Map"] * 3 + ["Web"]
    source = opened(seed_bench_2_plus(tmp_path, [seed_plus_row(n, kind) for n, kind in enumerate(kinds)]))
    rows = answered(source, lambda place, question: place in (0, 1, 5, 8))
    found = {one.name: one for one in with_baselines(SeedBench2Plus.figures, rows)}
    assert found["average of types"].value == pytest.approx((2 / 5 + 1 / 3 + 1) / 3)
    assert found["pooled"].value == pytest.approx(4 / 9)
    assert found["average of types"].random == pytest.approx(0.25)
    finer = [one for name, one in found.items() if name.startswith("chart:")]
    assert sum(one.value * one.n for one in finer) / 5 == pytest.approx(found["chart"].value)
    perfect = answered(source, lambda place, question: True)
    assert all(one.value == 1 for one in SeedBench2Plus.figures(perfect))
    always = answered(source, lambda place, question: question.answer == 0)
    assert {one.name: one.value for one in SeedBench2Plus.figures(always)}["pooled"] == pytest.approx(3 / 9)

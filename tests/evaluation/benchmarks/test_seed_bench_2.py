"""SEED-Bench-2: filters, places of pictures, candidates, empty options, two averages, what is not run."""

from __future__ import annotations

import pytest

from conftest import picture
from official_files import TEXTS, seed_2_row, seed_bench_2
from vitrail.data.records import Image
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.seed_bench_2 import COUNTS, DIMENSIONS, SeedBench2, part_of


def opened(folder, **settings):
    return SeedBench2(SeedBench2.Config(path=str(folder), **settings)).source()


def test_counts_of_the_official_file_add_up():
    by_part = {part: sum(n for k, n in COUNTS.items() if part_of(k) == part) for part in ("part 1", "part 2")}
    assert sum(COUNTS.values()) == 24_371 and by_part == {"part 1": 23_034, "part 2": 169}
    assert set(COUNTS) == set(DIMENSIONS) == set(range(1, 28))


def test_levels_and_versions_keep_those_below(tmp_path):
    seven = [f"task26/{n}.png" for n in range(7)]
    rows = [
        *(seed_2_row(n, 1) for n in range(3)),
        seed_2_row(3, 10),
        seed_2_row(4, 23),
        seed_2_row(5, 26, data_id=seven),
    ]
    seed_bench_2(tmp_path, rows)
    sizes = {level: len(opened(tmp_path, level=level)) for level in ("L1", "L2", "L3")}
    assert sizes == {"L1": 4, "L2": 5, "L3": 6}
    assert len(opened(tmp_path, version="v1")) == 3
    assert len(opened(tmp_path, subpart="Interleaved Image & Text Comprehension")) == 1
    for wrong in ({"level": "L9"}, {"version": "v3"}, {"subpart": "Images"}):
        with pytest.raises(ValueError):
            opened(tmp_path, **wrong)


def test_pictures_stand_where_the_question_says(tmp_path):
    names = [f"task23/{n}.jpg" for n in range(3)]
    rows = [
        seed_2_row(0, 23, data_id=names, question="<img> a red one. <img> a blue one. <img>"),
        seed_2_row(1, 17, data_id=names[:2], question="What differs?"),
        seed_2_row(2, 23, data_id=names[:2], question="<img> only"),
    ]
    source = opened(seed_bench_2(tmp_path, rows))
    kinds = [[part.type for part in one.messages[0].content] for one in source]
    assert kinds == [["image", "text", "image", "text", "image"], ["image", "image", "text"]]
    assert [part.path for part in source[0].images] == [f"SEED-Bench-2-image/{name}" for name in names]
    assert "1 × <img> for 2 pictures" in str(source.set_aside.rows[0])


def test_candidates_are_the_last_four(tmp_path):
    to_image = seed_2_row(0, 25, data_id=[f"task25/{n}.jpg" for n in range(4)])
    following = seed_2_row(1, 26, data_id=[f"task26/{n}.png" for n in range(7)])
    few = seed_2_row(2, 26, data_id=["task26/0.png"])
    source = opened(seed_bench_2(tmp_path, [to_image, following, few]), candidates="shown")
    assert [len(one.images) for one in source] == [0, 3]
    assert [len(one.choices.options) for one in source] == [4, 4]
    assert isinstance(source[1].choices.options[0][0], Image)
    assert "dimension 26 needs its 4 candidates" in str(source.set_aside.rows[0])


def test_empty_options_are_left_out_and_the_answer_follows(tmp_path):
    row = seed_2_row(3, 12, choice_b="", answer="D")
    question = opened(seed_bench_2(tmp_path, [row])).questions[0]
    assert len(question.options) == 3 and question.options[question.answer].text == TEXTS[3]
    rows = [seed_2_row(0, 1), seed_2_row(3, 12, choice_d="", answer="D")]
    assert "the option choice_d is empty" in str(opened(seed_bench_2(tmp_path, rows)).set_aside.rows[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"level": "L4"}, "level: is 'L4'; known: L1, L2, L3"),
        ({"version": "v9"}, "version: is 'v9'"),
        ({"subpart": "Video"}, "subpart: is 'Video'"),
        ({"data_source": "coco"}, "data_source: is 'coco'"),
        ({"question_type_id": 28}, "from 1 to 27"),
        ({"data_id": None}, "data_id: must be a path or a list of paths"),
    ],
)
def test_broken_rows_are_named(tmp_path, changes, words):
    seed_bench_2(tmp_path, [seed_2_row(0), seed_2_row(1)])
    from official_files import write_json

    write_json(
        tmp_path / "SEED-Bench_v2_level1_2_3.json",
        {"questions": [seed_2_row(0), {**seed_2_row(1), **changes}]},
    )
    assert words in str(opened(tmp_path).set_aside.rows[0])


def test_what_a_model_cannot_do_is_told_and_not_scored_as_wrong(nano, tmp_path):
    rows = [seed_2_row(n, 1 if n < 3 else 2) for n in range(4)]
    rows.append(seed_2_row(9, 25, data_id=[f"task25/{n}.jpg" for n in range(4)]))
    folder = seed_bench_2(tmp_path / "data", rows)
    scenario = {"name": "benchmark", "benchmark": "seed_bench_2", "path": str(folder)}
    task = Task(name="t", scenario=scenario, **SeedBench2.parts(None))
    official = score(run_task(task, nano, tmp_path)).official
    assert official.not_run == ("Text-to-Image Generation",) and "not run: Text-to-Image" in official.coverage
    one, two = (official[DIMENSIONS[kind]].value for kind in (1, 2))
    assert official["part 1, pooled"].value == pytest.approx((3 * one + two) / 4)
    assert official["part 1, mean of dimensions"].value == pytest.approx((one + two) / 2)
    assert not [figure for figure in official.figures if "part 3" in figure.name]


def test_candidates_can_be_shown_to_a_model_that_makes_no_pictures(nano, tmp_path):
    row = seed_2_row(0, 25, data_id=[f"task25/{n}.jpg" for n in range(4)])
    folder = seed_bench_2(tmp_path / "data", [row])
    settings = {"candidates": "shown"}
    scenario = {"name": "benchmark", "benchmark": "seed_bench_2", "path": str(folder), "settings": settings}
    shown = Task(name="shown", scenario=scenario, **SeedBench2.parts("letter-ranking"))
    assert score(run_task(shown, nano, tmp_path)).official["part 3, pooled"].n == 1
    said = Task(name="said", scenario=scenario, **SeedBench2.parts("ranking"))
    found = score(run_task(said, nano, tmp_path))
    assert "has pictures as options" in next(iter(found.reasons)) and found.overall.n == 0
    assert picture(1)

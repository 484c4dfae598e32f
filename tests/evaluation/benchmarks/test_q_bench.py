"""Q-Bench: three official forms of perception, the letter parser, assessment sets with their correlations."""

from __future__ import annotations

import io
import json

import pyarrow
import pyarrow.parquet
import pytest

from conftest import picture
from official_files import q_bench, q_bench_row, write_json, write_picture
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.q_bench import QBench, QBenchAssessment, assessment_figures
from vitrail.evaluation.reading import last_letter


def opened(folder, **settings):
    return QBench(QBench.Config(path=str(folder), **settings)).source()


def mirror(folder, rows):
    folder.mkdir(exist_ok=True)
    kept = []
    for number, row in enumerate(rows):
        image = {"bytes": picture(number).bytes, "path": f"{number}.png"}
        options = {f"option{n}": (row["candidates"] + ["N/A"] * 4)[n] for n in range(4)}
        kept.append(
            {
                "id": number,
                "image": image,
                "question": row["question"],
                **options,
                "correct_choice": "B",
                "question_type": row["type"],
                "question_concern": row["concern"],
            }
        )
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(kept), folder / "dev-00000-of-00001.parquet")
    return folder


def test_the_forms_hold_the_same_questions(nano, tmp_path):
    rows = [q_bench_row(number) for number in range(12)]
    plain, parquet = opened(q_bench(tmp_path / "json", rows)), opened(mirror(tmp_path / "parquet", rows))
    for one, other in zip(plain.questions, parquet.questions, strict=True):
        assert (one.options, one.answer, one.kind, one.groups) == (
            other.options,
            other.answer,
            other.kind,
            other.groups,
        )
    assert [len(one.options) for one in parquet.questions[:2]] == [2, 3], "N/A is never shown"
    assert parquet[0].images and plain.questions[0].kind == "yes-or-no" and plain.questions[5].kind == "how"
    task = Task(
        name="q",
        scenario={"name": "benchmark", "benchmark": "q_bench", "path": str(tmp_path / "json")},
        **QBench.parts("letter-ranking"),
    )
    official = score(run_task(task, nano, tmp_path)).official
    for names in (
        ("yes-or-no", "what", "how"),
        ("distortion", "others", "in-context distortion", "in-context others"),
    ):
        parts = [official[name] for name in names]
        weighted = sum(one.value * one.n for one in parts) / 12
        assert sum(one.n for one in parts) == 12 and weighted == pytest.approx(official["overall"].value)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("(B)", 1),
        ("B", 1),
        ("B.", 1),
        ("A or rather (C)", 2),
        ("(A) no, (B)", 1),
        ("", None),
        ("I do not know", None),
        ("the lighting of the whole picture is dark I think", 1),
        ("dark", None),
    ],
)
def test_the_letter_parser(said, found):
    assert last_letter(said, ["bright", "dark", "medium"]) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"correct_ans": "grey"}, "none of the candidates"),
        ({"candidates": ["dark"]}, "has 1 option"),
        ({"candidates": []}, "candidates"),
        ({"type": 7}, "type: is 7"),
        ({"question": ""}, "question: is missing"),
    ],
)
def test_broken_rows_are_named(tmp_path, change, words):
    folder = q_bench(tmp_path, [q_bench_row(0, **change), q_bench_row(1)])
    source = opened(folder)
    assert len(source) == 1 and words in str(source.set_aside.rows[0])


def test_a_missing_picture_and_a_choice_beyond_the_options(tmp_path):
    folder = q_bench(tmp_path / "a", [q_bench_row(0), q_bench_row(1)])
    (folder / "images_llvisionqa/00000.jpg").unlink()
    assert "is missing" in str(opened(folder).set_aside.rows[0])
    buffer = io.BytesIO(picture(0).bytes)
    row = {
        "id": 0,
        "image": {"bytes": buffer.getvalue(), "path": ""},
        "question": "?",
        "option0": "a",
        "option1": "b",
        "option2": "N/A",
        "option3": "N/A",
        "correct_choice": "C",
        "question_type": 0,
        "question_concern": 0,
    }
    table = pyarrow.Table.from_pylist([row, {**row, "id": 1, "correct_choice": "B"}])
    (tmp_path / "b").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "b" / "dev.parquet")
    assert "options kept are A, B" in str(opened(tmp_path / "b").set_aside.rows[0])


def assessed(folder, n=8, **changes):
    for name in ("koniq", "cgi"):
        rows = [
            {"img_path": f"{name}/{k}.png", "gt_score": f"{k}.5 " if k % 2 else k + 0.5} for k in range(n)
        ]
        rows[0] |= changes
        for number, row in enumerate(rows):
            write_picture(folder / row["img_path"], number)
        write_json(folder / "a3_iqa_databases" / "jsons" / f"{name}.json", rows)
    return folder


def test_assessment_of_a_model(nano, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrail.evaluation.benchmarks.q_bench.HALF", 4)
    folder = assessed(tmp_path / "data")
    parts = QBenchAssessment.parts(None)
    parts["inferencer"] = {"name": "two_words", "words": {"red": 1.0, "blue": 0.0}}
    scenario = {"name": "benchmark", "benchmark": "q_bench_assessment", "path": str(folder)}
    official = score(run_task(Task(name="a", scenario=scenario, **parts), nano, tmp_path)).official
    assert official.answered == 16 and official["koniq SRCC"].interval is not None
    both = [official["koniq SRCC"].value, official["cgi SRCC"].value]
    assert (
        official["mean SRCC"].value == pytest.approx(sum(both) / 2) and -1 <= official["mean SRCC"].value <= 1
    )
    named = {**scenario, "settings": {"sets": ["spaq"]}}
    with pytest.raises(ValueError, match=r"holds no spaq\.json"):
        Task(name="b", scenario=named, **parts).part("scenario").source()
    with pytest.raises(ValueError, match="sets has"):
        QBenchAssessment.Config(path="x", sets=("spaqq",))


def test_scores_that_follow_people_and_scores_that_are_constant():
    rows = [
        {
            "kind": "koniq",
            "groups": {},
            "cluster": k,
            "score": k / 10,
            "reference": str(float(k)),
            "logprobs": [0, 0],
        }
        for k in range(10)
    ]
    best = {one.name: one.value for one in assessment_figures(rows)}
    assert best["koniq SRCC"] == pytest.approx(1) == best["koniq PLCC"]
    assert best["koniq SRCC of the likelier word"] < 0.95
    flat = {one.name: one.value for one in assessment_figures([{**row, "score": 0.5} for row in rows])}
    assert flat["koniq SRCC"] is None and flat["mean SRCC"] is None
    few = {one.name: one.value for one in assessment_figures(rows[:2])}
    assert few["koniq PLCC"] is None


def test_a_score_that_is_no_number(tmp_path):
    folder = assessed(tmp_path, gt_score="bad ")
    source = QBenchAssessment(QBenchAssessment.Config(path=str(folder))).source()
    assert len(source) == 14 and "which is no number" in str(source.set_aside.rows[0])
    assert json.loads(source[0].messages[1].text) == 1.5

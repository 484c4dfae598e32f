"""MMR: pairs joined by name, the two rates, official quirks, broken pairs."""

from __future__ import annotations

import json
import random

import pytest

from official_files import TEXTS, mmr, mmr_pair, write_json
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.mmr import MMR, pair_cells, pair_figures
from vitrail.evaluation.benchmarks.question import parsed_options


def opened(folder):
    return MMR(MMR.Config(path=str(folder))).source()


def rows_of(source, right):
    return [
        {
            "id": one.id,
            "kind": one.kind,
            "cluster": one.cluster,
            "groups": dict(one.groups),
            "answer": one.answer,
            "options": list(TEXTS),
            "correct": right(one),
        }
        for one in source.questions
    ]


@pytest.fixture
def source(tmp_path):
    pairs = [
        mmr_pair(f"attribute/{'number' if n % 2 else 'shape'}/{n:02}", "AB" if n < 6 else "AA")
        for n in range(10)
    ]
    return opened(mmr(tmp_path, [row for pair in pairs for row in pair]))


def test_cells_and_rates(source):
    draw = random.Random(0)
    rows = rows_of(source, lambda one: draw.random() < 0.6)
    cells, found = pair_cells(rows), {one.name: one.value for one in pair_figures(rows)}
    assert sum(cells.values()) == 10
    assert found["RA"] == cells["UR"] / 10 <= min(found["accuracy POS"], found["accuracy NEG"])
    assert found["MR"] == pytest.approx(cells["UF"] / (cells["UR"] + cells["UF"]))
    shuffled = draw.sample(rows, len(rows))
    assert {one.name: one.value for one in pair_figures(shuffled)}["RA"] == found["RA"]
    categories = [one for one in pair_figures(rows) if one.name.endswith(": RA")]
    assert [one.n for one in categories] == [5, 5], "over the pairs of a category"


def test_always_a_gets_the_pairs_whose_letters_are_both_a(source):
    found = {one.name: one.value for one in pair_figures(rows_of(source, lambda one: one.answer == 0))}
    assert found["RA"] == 4 / 10 and found["MR"] == 6 / 10
    honest = {one.name: one.value for one in pair_figures(rows_of(source, lambda one: True))}
    assert honest["MR"] == 0.0 and honest["RA"] == 1.0
    nothing = {one.name: one.value for one in pair_figures(rows_of(source, lambda one: False))}
    assert nothing["MR"] is None and nothing["RA"] == 0.0, "of nothing understood there is no rate"


def test_options_in_a_question_are_read_tolerantly():
    stem, options = parsed_options("Who is it?\nA.one\n\nB. two, i.e. A. B.\nC.  three\nD. four\n")
    assert stem == "Who is it?" and options == ("one", "two, i.e. A. B.", "three", "four")
    with pytest.raises(ValueError, match="must list its options"):
        parsed_options("Who is it? A. one B. two")


def test_a_pair_labelled_alike_is_kept_and_told(nano, tmp_path):
    rows = [*mmr_pair("attribute/number/04", kinds=("POS", "POS")), *mmr_pair("context/expert/01")]
    folder = mmr(tmp_path / "data", rows)
    task = Task(
        name="mmr",
        scenario={"name": "benchmark", "benchmark": "mmr", "path": str(folder)},
        **MMR.parts("letter-ranking"),
    )
    official = score(run_task(task, nano, tmp_path)).official
    assert any("attribute/number/04 is labelled POS twice" in note for note in official.notes)
    assert official["RA"].n == 2 and official["RA"].random == pytest.approx(1 / 16)
    assert official["MR"].random == pytest.approx(3 / 4)
    first = json.loads((tmp_path / "mmr" / "trained.jsonl").read_text().splitlines()[1])
    assert first["id"] == "attribute/number/04/POS" and first["options"] == list(TEXTS)
    turned = {**task.scenario, "circular": True}
    with pytest.raises(ValueError, match="lists its options inside its questions"):
        task.model_copy(update={"scenario": turned}).part("scenario").source()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[:1], "the other member of pair 'a/b/1' is missing"),
        (lambda rows: [rows[0], {**rows[1], "image": "a/b/2.jpg"}], "the pair's other member shows"),
        (lambda rows: [rows[0], {**rows[1], "ground_truth": "E"}], "ground_truth: is 'E'"),
        (lambda rows: [rows[0], {**rows[1], "question": "Why?"}], "must list its options"),
        (lambda rows: [*rows, rows[0]], "is there a third time"),
        (lambda rows: [rows[0], {**rows[1], "question_type": "X"}], "known: POS, NEG"),
    ],
)
def test_broken_pairs_are_named(tmp_path, change, words):
    whole = mmr_pair("a/b/2")
    mmr(tmp_path, [*mmr_pair("a/b/1"), *whole])
    write_json(tmp_path / "MMR-benchmark.json", [*change(mmr_pair("a/b/1")), *whole])
    source = opened(tmp_path)
    assert any(words in str(row) for row in source.set_aside.rows)
    assert {one.groups["pair"] for one in source.questions} >= {"a/b/2"}

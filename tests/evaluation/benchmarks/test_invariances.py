"""What must not move a benchmark's score: batch size, the order of its rows, and of options where that says nothing."""

from __future__ import annotations

import pytest

from official_files import seed_bench, seed_row, write_picture
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.seed_bench import SeedBench


def rows(n: int = 12) -> list[dict]:
    """Three questions a picture, longer and shorter."""
    texts = [f"What is shown {'there and ' * (number % 4)}in {number}?" for number in range(n)]
    return [
        seed_row(number, question=text, data_id=f"picture{number // 3}") for number, text in enumerate(texts)
    ]


def turned(row: dict, by: int) -> dict:
    """The row with its options moved ``by`` places to the left."""
    options = [row[f"choice_{letter}"] for letter in "abcd"]
    moved = {f"choice_{letter}": options[(place + by) % 4] for place, letter in enumerate("abcd")}
    return {**row, **moved, "answer": "ABCD"[("ABCD".index(row["answer"]) - by) % 4]}


def asked(bundle, place, questions, mode="ranking", batch_size=16, **scenario):
    """Answers by id, and the official score."""
    folder = seed_bench(place / "files", questions)
    for name in {row["data_id"] for row in questions}:  # the same, whichever row was written last
        write_picture(folder / "SEED-Bench-image" / name, int(name.removeprefix("picture")))
    scenario = {"name": "benchmark", "benchmark": "seed_bench", "path": str(folder), **scenario}
    task = Task(name="seed", scenario=scenario, **SeedBench.parts(mode))
    path = run_task(task, bundle, place, batch_size=batch_size)
    return {row["id"]: row for row in read_answers(path).rows}, score(path).official


def same(one: dict, other: dict) -> None:
    """Equal answers and, within rounding, equal values; options are told apart by what they say."""
    assert set(one) == set(other)
    for name, row in one.items():
        there = other[name]
        mine, theirs = (dict(zip(some["options"], some["values"], strict=True)) for some in (row, there))
        assert mine == pytest.approx(theirs, abs=1e-5)
        said = [some["options"][some["prediction"]] for some in (row, there)]
        assert said[0] == said[1] or row["margin"] < 1e-5


def test_batch_size_order_of_rows_and_of_options_of_a_ranking(nano, tmp_path):
    first, official = asked(nano, tmp_path / "first", rows(), batch_size=1)
    for name, questions, settings in (
        ("batch 5", rows(), {"batch_size": 5}),
        ("batch 16", rows(), {"batch_size": 16}),
        ("rows", rows()[::-1], {}),
        ("options", [turned(row, 1 + number % 3) for number, row in enumerate(rows())], {}),
    ):
        found, there = asked(nano, tmp_path / name, questions, **settings)
        same(first, found)
        assert [one.value for one in there.figures] == [one.value for one in official.figures], name


def test_a_circular_score_does_not_depend_on_which_turn_the_file_holds(nano, tmp_path):
    """Letters: options are listed, so their order matters to the model, but not to the score of all rotations."""
    settings = {"mode": "letter-ranking", "circular": True}
    _, official = asked(nano, tmp_path / "a", rows(6), **settings)
    _, other = asked(nano, tmp_path / "b", [turned(row, 2) for row in rows(6)], **settings)
    assert official["circular"].value == other["circular"].value and official["circular"].n == 6


def test_answers_in_words_do_not_depend_on_the_batch(nano, tmp_path):
    ways = {"mode": "letters"}
    first, _ = asked(nano, tmp_path / "a", rows(6), batch_size=1, **ways)
    other, _ = asked(nano, tmp_path / "b", rows(6)[::-1], batch_size=4, **ways)
    assert {name: row["text"] for name, row in first.items()} == {
        name: row["text"] for name, row in other.items()
    }


def test_questions_on_a_picture_share_it_in_a_benchmark(nano, tmp_path, monkeypatch):
    from vitrail.inference import prefill

    forwarded = []
    begin = prefill.begin

    def counting(model, collator, prompts, caching):
        forwarded.extend(prompt.images for prompt in prompts)
        return begin(model, collator, prompts, caching)

    monkeypatch.setattr(prefill, "begin", counting)
    asked(nano, tmp_path, rows())
    assert len(forwarded) == 4, "twelve questions, four pictures"
    header = read_answers(tmp_path / "seed" / "trained.jsonl").header
    assert header["run"]["share_pictures"] is True

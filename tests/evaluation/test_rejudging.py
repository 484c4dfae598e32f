"""Answers judged again: as a run under the other metric would have judged them, without asking."""

from __future__ import annotations

import json

import pytest

from answer_files import answer, write
from vitrail.cli.main import main
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.rejudging import rejudged, write_answers
from vitrail.evaluation.scores import score, scores_of

TEXTS = ("A", "The answer is A", "red", "B", "?")


@pytest.fixture
def words(tmp_path):
    """Five answers in words, read by their first character; one row more was set aside."""
    words = {"values": None, "choice": None}
    rows = [answer(n, n == 0, **words, text=text) for n, text in enumerate(TEXTS)]
    for row in (rows[1], rows[2], rows[4]):
        row |= {"parsed": False, "prediction": None}
    task = {
        "instruction": {"name": "lettered"},
        "inferencer": {"name": "generate"},
        "metric": {"name": "match", "reading": "first-character"},
    }
    path = write(tmp_path / "words" / "trained.jsonl", rows, task=task, rows=6)
    aside = {"key": "row:5", "type": "set_aside", "row": 5, "id": "q5", "reason": "too long"}
    path.write_text(path.read_text() + json.dumps(aside) + "\n")
    return path


def test_another_reading_reads_more(words, tmp_path):
    before = read_answers(words)
    after = rejudged(before, {"name": "match", "reading": "words"})
    assert [row["correct"] for row in after.rows] == [True, True, True, False, False]
    assert [row["parsed"] for row in after.rows] == [True, True, True, True, False]
    assert [row["text"] for row in after.rows] == list(TEXTS)
    assert after.header["task"]["metric"]["reading"] == "words"
    changed = {
        name
        for name, value in after.header["fingerprints"].items()
        if value != before.header["fingerprints"][name]
    }
    assert changed == {"metric"}, "what made the answers is the same"
    path = write_answers(after, tmp_path / "again.jsonl")
    assert score(path) == scores_of(read_answers(path)) and score(path).overall.right == 3
    assert score(path).set_aside == 1 and score(words).overall.right == 1
    back = rejudged(read_answers(path), before.header["task"]["metric"])
    assert back.rows == before.rows
    with pytest.raises(ValueError, match="is there already"):
        write_answers(after, path)


def test_a_metric_that_needs_something_else_is_refused(words, tmp_path):
    with pytest.raises(
        ValueError, match="metric 'accuracy' needs a ranking, but inferencer 'generate' gives a text"
    ):
        rejudged(read_answers(words), "accuracy")


def test_it_is_what_a_run_would_have_written(nano, tmp_path):
    from vitrail.evaluation import Task, run_task

    parts = {
        "name": "own",
        "scenario": {"name": "scenes", "suite": "nano-scenes-v1", "n": 4},
        "instruction": "lettered",
        "inferencer": {"name": "generate", "max_new_tokens": 4},
    }
    asked = [
        read_answers(run_task(Task.model_validate({**parts, "metric": metric}), nano, tmp_path / name))
        for name, metric in (("a", "match"), ("b", {"name": "match", "reading": "last-letter"}))
    ]
    again = rejudged(asked[0], {"name": "match", "reading": "last-letter"})
    assert again.rows == asked[1].rows and again.header == asked[1].header


def test_the_command(words, tmp_path, capsys):
    out = tmp_path / "again.jsonl"
    told = ["eval", "score", str(words), "--metric", "match:reading=words"]
    assert main([*told, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["colours"]["trained"]
    assert found["right"] == 3 and found["unparsed"] == 1 and found["set_aside"] == 1
    assert main(["eval", "score", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["colours"]["trained"]["right"] == 3
    assert main(["eval", "score", str(words), "--out", str(out)]) == 2
    assert "--out goes with --metric" in capsys.readouterr().err
    assert main([*told, str(words), "--out", str(tmp_path / "x")]) == 2
    assert main([*told, "--submission", str(tmp_path / "s")]) == 2

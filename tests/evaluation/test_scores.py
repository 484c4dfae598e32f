"""Scores and comparisons are pure functions of files."""

from __future__ import annotations

import json
import random

import pytest

from vitrail.evaluation.compare import compare
from vitrail.evaluation.scores import score
from vitrail.statistics.intervals import wilson

HEADER = {
    "key": "header",
    "type": "header",
    "version": 1,
    "task": {"name": "t", "instruction": {}, "inferencer": {}, "metric": {}},
    "condition": "trained",
    "model": "m",
    "source": "s",
    "rows": 10,
    "fingerprints": {"scenario": "abc"},
    "run": {},
}


def row(number: int, correct: bool, **changes) -> dict:
    fields = {
        "key": f"row:{number}",
        "type": "answer",
        "row": number,
        "id": f"q{number}",
        "kind": "what",
        "cluster": f"p{number}",
        "names": "known",
        "options": ["a", "b"],
        "answer": 0,
        "correct": correct,
        "parsed": True,
        "tie": False,
        "seconds": 0.1,
    }
    return {**fields, **changes}


def write(path, rows, **header):
    path.write_text("".join(json.dumps(line) + "\n" for line in ({**HEADER, **header}, *rows)))
    return path


def test_the_same_rows_score_the_same_wherever_and_in_whatever_order(tmp_path):
    rows = [row(n, n % 3 == 0, cluster=f"p{n // 2}", kind=f"k{n % 2}") for n in range(10)]
    first = score(write(tmp_path / "a.jsonl", rows))
    random.Random(0).shuffle(rows)
    (tmp_path / "elsewhere").mkdir()
    again = score(write(tmp_path / "elsewhere" / "b.jsonl", rows))
    assert first.as_json() == {**again.as_json(), "by_kind": first.as_json()["by_kind"]}
    assert first.by_kind == again.by_kind


def test_counts_add_up(tmp_path):
    rows = [
        row(0, True),
        row(1, False),
        row(2, False, parsed=False),
        row(3, True, tie=True, options=["a", "b", "c", "d"]),
        {"key": "row:4", "type": "set_aside", "row": 4, "id": "q4", "reason": "no answer"},
        {"key": "line:9", "type": "unread", "line": 9, "id": None, "reason": "not JSON"},
    ]
    found = score(write(tmp_path / "a.jsonl", rows))
    rate = found.overall
    assert (rate.n, rate.right, rate.wrong, rate.unparsed, rate.ties) == (4, 2, 1, 1, 1)
    assert rate.accuracy == 0.5 and rate.interval == tuple(wilson(2, 4))
    assert rate.chance == pytest.approx((3 * 0.5 + 0.25) / 4)
    assert (found.rows, found.set_aside, found.unread, found.missing) == (10, 1, 1, 5)
    assert found.reasons == {"no answer": 1, "not JSON": 1}
    json.dumps(found.as_json())


def test_questions_about_one_picture_widen_the_interval(tmp_path):
    alone = [row(n, n < 20) for n in range(40)]
    together = [{**one, "cluster": f"p{one['row'] // 10}"} for one in alone]
    narrow = score(write(tmp_path / "a.jsonl", alone)).overall.interval
    wide = score(write(tmp_path / "b.jsonl", together)).overall.interval
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_no_answers_yet(tmp_path):
    found = score(write(tmp_path / "a.jsonl", []))
    assert found.overall.accuracy is None and found.overall.interval is None and found.missing == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with the header"),
        ('{"type": "answer"}\n', "does not begin with the header"),
        (json.dumps({**HEADER, "version": 9}) + "\n", "format version 9"),
        (json.dumps(HEADER) + '\n{"type": "odd"}\n', "type 'odd'"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(ValueError, match=words):
        score(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="there is no file of answers"):
        score(tmp_path / "none.jsonl")


def test_a_comparison_is_paired_by_question(tmp_path):
    first = [row(n, n < 30, kind=f"k{n % 2}") for n in range(40)]
    second = [row(n, n >= 25, kind=f"k{n % 2}") for n in range(5, 40)]
    random.Random(1).shuffle(second)
    found = compare(
        write(tmp_path / "a.jsonl", first), write(tmp_path / "b.jsonl", second, condition="blind")
    )
    whole = found.overall
    assert (found.first, found.second, found.unpaired) == ("t/trained", "t/blind", 5)
    assert (whole.n, whole.only_first, whole.only_second) == (35, 20, 10)
    assert whole.difference == pytest.approx(25 / 35 - 15 / 35)
    assert whole.interval[0] < whole.difference < whole.interval[1]
    assert whole.p == pytest.approx(0.0987, abs=1e-4)
    assert {kind: one.n for kind, one in found.by_kind.items()} == {"k1": 18, "k0": 17}
    turned = compare(tmp_path / "b.jsonl", tmp_path / "a.jsonl").overall
    assert turned.difference == -whole.difference


def test_other_questions_cannot_be_compared(tmp_path):
    a = write(tmp_path / "a.jsonl", [row(0, True)])
    b = write(tmp_path / "b.jsonl", [row(0, True)], fingerprints={"scenario": "xyz"})
    with pytest.raises(ValueError, match="other questions"):
        compare(a, b)
    none = write(tmp_path / "c.jsonl", [])
    assert compare(a, none).overall is None
    assert compare(a, a).overall.interval is None

"""Two tools' files of the same questions, row by row."""

from __future__ import annotations

import json

import pytest

from answer_files import answer, write
from vitrail.evaluation.row_comparison import compare_rows, read_said


def lmms(path, rights, offset=0, **changes):
    """As lmms-eval writes them with ``--log_samples``."""
    lines = [
        {
            "doc_id": n + offset, "doc": {"question": "Which?", "A": "red", "B": "blue", "answer": "A"}, "target": "A",
            "arguments": {}, "resps": [["A" if right else "B"]], "filtered_resps": ["A" if right else "B"],
            "doc_hash": "h", "exact_match": float(right), **changes,
        }
        for n, right in enumerate(rights)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def vlm(path, rights, judged):
    """As VLMEvalKit writes them."""
    head = ["index", "question", "A", "B", "answer", "prediction", "category", *(["hit"] if judged else [])]
    lines = ["\t".join(head)]
    for n, right in enumerate(rights):
        said = "A" if right else "The answer is (B)."
        mark = ["1" if right else "0"] if judged else []
        lines.append("\t".join([f"q{n}", "Which?", "red", "blue", "A", said, f"c{n % 2}", *mark]))
    path.write_text("\n".join(lines) + "\n")
    return path


RIGHTS = [True, False, True, True]


def test_ours_against_the_same_answers_of_both(tmp_path):
    ours = write(tmp_path / "a.jsonl", [answer(n, right, cluster="one") for n, right in enumerate(RIGHTS)])
    for other, by in (
        (lmms(tmp_path / "samples.jsonl", RIGHTS), "row"),
        (vlm(tmp_path / "judged.tsv", RIGHTS, True), "id"),
        (vlm(tmp_path / "plain.tsv", RIGHTS, False), "id"),
    ):
        found = compare_rows(ours, other)
        assert (found.by, found.same, found.judged, found.only_first, found.only_second) == (by, 4, 4, (), ())
        assert found.difference.difference == 0 and found.difference.p == 1.0
        assert found.difference.clusters == 1, "our file knows that the four share a picture"


def test_what_differs_is_named(tmp_path):
    one = lmms(tmp_path / "a.jsonl", [True, True, True, False])
    two = lmms(tmp_path / "b.jsonl", [True, False, True], offset=1)
    found = compare_rows(one, two)
    assert [(row.id, row.same, row.first, row.second) for row in found.rows] == [
        ("row-1", True, "A", "A"), ("row-2", False, "A", "B"), ("row-3", False, "B", "A")
    ]  # fmt: skip
    assert found.only_first == ("row-0",) and found.only_second == ()
    assert (found.difference.only_first, found.difference.only_second) == (1, 1)


def test_ours_against_what_is_exported_of_it(tmp_path):
    """The same answers, unreadable ones included, in either tool's form: nothing differs, and all is judged."""
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.exchange import lmms_eval, vlmevalkit

    words = {"values": None, "choice": None}
    rows = [answer(n, n == 0, **words, text=text) for n, text in enumerate(["A", "B", "?"])]
    rows[2] |= {"parsed": False, "prediction": None}
    task = {
        "instruction": {"name": "lettered"},
        "inferencer": {"name": "generate"},
        "metric": {"name": "match"},
    }
    ours = write(tmp_path / "a.jsonl", rows, task=task)
    for tool, name in ((lmms_eval, "vitrail_samples_colours.jsonl"), (vlmevalkit, "m_colours.tsv")):
        tool.export_answers(read_answers(ours), tmp_path / "out")
        found = compare_rows(ours, tmp_path / "out" / name)
        assert (found.by, found.same, found.judged) == ("id", 3, 3), name
        assert (found.difference.first, found.difference.second) == (1 / 3, 1 / 3)
        assert [one.kind for one in read_said(tmp_path / "out" / name)] == ["k0", "k1", "k0"]


def test_a_metric_of_a_task_s_own(tmp_path):
    path = lmms(tmp_path / "a.jsonl", RIGHTS, mmmu_acc=1, exact_match=None)
    assert [one.right for one in read_said(path, "mmmu_acc")] == [True] * 4
    assert [one.right for one in read_said(path)] == RIGHTS, "read from the letters"
    with pytest.raises(ValueError, match="line 1: has no number 'acc_2'"):
        read_said(path, "acc_2")


def test_files_that_cannot_be_paired(tmp_path):
    one = lmms(tmp_path / "a.jsonl", RIGHTS)
    with pytest.raises(ValueError, match="no row in common"):
        compare_rows(one, lmms(tmp_path / "b.jsonl", RIGHTS, offset=100))
    (tmp_path / "c.jsonl").write_text(one.read_text() * 2)
    with pytest.raises(ValueError, match="twice"):
        compare_rows(one, tmp_path / "c.jsonl")
    (tmp_path / "d.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match="line 1: is neither"):
        read_said(tmp_path / "d.jsonl")
    with pytest.raises(ValueError, match="there is no file"):
        read_said(tmp_path / "none.jsonl")


def test_the_command(tmp_path, capsys):
    from vitrail.cli.main import main

    ours = write(tmp_path / "a.jsonl", [answer(n, right) for n, right in enumerate(RIGHTS)])
    words = ["eval", "compare", str(ours), str(lmms(tmp_path / "b.jsonl", [True] * 4))]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert (
        "3 of 4 rows have the same answer (paired by row)" in out
        and "blue (not right)" in out
        and "q1" in out
    )
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"]["difference"] == -0.25

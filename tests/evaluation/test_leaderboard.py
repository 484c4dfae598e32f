"""Figures stand in one column only if they may be compared; ties are what paired tests leave open."""

from __future__ import annotations

import json

import pytest

from answer_files import answer, write
from vitrail.evaluation.leaderboard import leaderboard
from vitrail.evaluation.leaderboard_page import page_of, remarks, table


def right(share: float, n: int = 40, shift: int = 0, **changes) -> list[dict]:
    return [answer(i, (i + shift) % n < share * n, **changes) for i in range(n)]


def test_a_clear_winner_and_a_tie(tmp_path):
    write(tmp_path / "a/t/trained.jsonl", right(0.9), model="a")
    write(tmp_path / "a/t/blind.jsonl", right(0.5), model="a", condition="blind")
    write(tmp_path / "b/t/trained.jsonl", right(0.5), model="b")
    write(tmp_path / "c/t/trained.jsonl", right(0.5, shift=3), model="c")
    board = leaderboard(tmp_path)
    (column,) = board.columns
    assert {name: cell.ranks for name, cell in column.cells.items()} == {
        "a": (1, 1),
        "b": (2, 3),
        "c": (2, 3),
    }
    assert column.cells["a"].blind == 0.5 and column.random == 0.5 and board.left_out == {}
    found = {(pair.first, pair.second): pair for pair in column.pairs}
    assert found["a", "b"].difference == pytest.approx(0.4) and found["b", "c"].adjusted > 0.5
    assert found["a", "b"].p == pytest.approx(2 * 0.5**16), "16 questions, all the one way"
    assert found["a", "b"].adjusted == pytest.approx(3 * found["a", "b"].p)
    columns, rows = table(board)
    assert columns == ["model", "colours: right answers"] and [row[0] for row in rows][:3] == ["a", "b", "c"]
    assert rows[0][1].startswith("90.0 [") and rows[0][1].endswith("· 1") and rows[1][1].endswith("· 2–3")
    assert ["best of them without pictures", "50.0"] in rows and ["random option", "50.0"] in rows


def test_questions_on_one_picture_are_one_trial(tmp_path):
    """Twenty questions about one picture say no more than one: nobody wins by them."""
    one = {"cluster": "the same"}
    write(
        tmp_path / "a/trained.jsonl",
        [answer(i, i < 38, **(one if i < 20 else {})) for i in range(40)],
        model="a",
    )
    write(
        tmp_path / "b/trained.jsonl",
        [answer(i, 20 <= i < 38, **(one if i < 20 else {})) for i in range(40)],
        model="b",
    )
    (column,) = leaderboard(tmp_path).columns
    assert column.pairs[0].difference == 0.5 and column.pairs[0].p == 1.0
    assert column.cells["a"].ranks == column.cells["b"].ranks == (1, 2)


@pytest.mark.parametrize(
    ("changes", "point"),
    [
        ({"fingerprints": {"scenario": "other"}}, "questions"),
        ({"task": {"instruction": {"name": "lettered"}}}, "instruction"),
        ({"task": {"inferencer": {"name": "likelihood", "normalise": "token"}}}, "inferencer"),
        ({"task": {"metric": {"name": "match"}}}, "metric"),
        ({"circular": True}, "circular"),
        ({"fingerprints": {"inferencer": "imported"}}, "inferencer"),
    ],
)
def test_another_version_or_protocol_is_another_column(tmp_path, changes, point):
    rows = [{**one, "groups": {"turn": 0, "of": one["id"]}} for one in right(0.5)]
    write(tmp_path / "a.jsonl", rows, model="a")
    write(tmp_path / "b.jsonl", rows, model="b", questions=40, **changes)
    board = leaderboard(tmp_path)
    assert [column.name for column in board.columns] == ["colours #1", "colours #2"]
    assert all(
        len(column.cells) == 1 and not column.pairs and point in column.differs for column in board.columns
    )
    assert any("not comparable" in line and point in line for line in remarks(board))


def test_what_columns_differ_in_is_told_in_short(tmp_path):
    parts = {"instruction": {"name": "lettered", "answer": "letter", "query": "{question}\n" + "long " * 40}}
    write(tmp_path / "a.jsonl", right(0.5), model="a", fingerprints={"scenario": "a" * 64})
    write(tmp_path / "b.jsonl", right(0.5), model="b", fingerprints={"scenario": "b" * 64}, task=parts)
    first, second = (line for line in remarks(leaderboard(tmp_path)) if "not comparable" in line)
    assert first.endswith(": questions aaaaaaaa; instruction plain")
    assert "questions bbbbbbbb; instruction lettered (answer letter, query {question} long" in second
    assert second.endswith(" …")


def test_another_chat_template_or_processor_is_the_model_s_own(tmp_path):
    write(tmp_path / "a.jsonl", right(0.5), model="a")
    write(tmp_path / "b.jsonl", right(0.5), model="b", fingerprints={"prompt": "other", "processor": "other"})
    assert len(leaderboard(tmp_path).columns) == 1


def test_equal_names_and_repeated_files(tmp_path):
    write(tmp_path / "a.jsonl", right(0.5), model="m")
    write(tmp_path / "b.jsonl", right(0.5)[:10], model="m", rows=40)
    write(tmp_path / "c.jsonl", right(0.9), model="m", fingerprints={"model": "other weights"})
    write(tmp_path / "d.jsonl", right(0.9), model="m", condition="fog-1", fingerprints={"transform": "fog-1"})
    (tmp_path / "e.jsonl").write_text('{"no": "answers"}\n')
    board = leaderboard(tmp_path)
    assert len(board.models) == 2 and all(name.startswith("m (") for name in board.models)
    assert "same model on the same questions" in board.left_out[str(tmp_path / "b.jsonl")]
    assert "fog-1" in board.left_out[str(tmp_path / "d.jsonl")] and len(board.left_out) == 2


def test_losses_are_less_for_the_better(tmp_path):
    def read(loss: float) -> list[dict]:
        changes = {"options": [], "answer": None, "prediction": None, "values": None, "choice": None}
        return [answer(i, False, loss=loss + i / 100, **changes) for i in range(20)]

    for name, loss in (("a", 1.0), ("b", 2.0)):
        write(tmp_path / f"{name}.jsonl", read(loss), model=name)
    board = leaderboard(tmp_path)
    (column,) = board.columns
    assert column.cells["a"].ranks == (1, 1) and not column.cells["a"].share
    assert column.pairs[0].difference == pytest.approx(1.0)
    assert table(board)[1][0][1].startswith("1.095 [")


def test_rows_not_covered_are_said(tmp_path):
    write(tmp_path / "a.jsonl", right(0.5), model="a", rows=50)
    board = leaderboard(tmp_path)
    assert "*" in table(board)[1][0][1] and any("a 40 of 50" in line for line in remarks(board))


def test_the_order_of_files_changes_nothing(tmp_path):
    for folder, order in (("x", "abc"), ("y", "cba")):
        for place, name in enumerate(order):
            share = {"a": 0.9, "b": 0.5, "c": 0.6}[name]
            write(tmp_path / folder / f"{place}.jsonl", right(share), model=name)
    boards = [leaderboard(tmp_path / folder) for folder in ("x", "y")]
    assert table(boards[0]) == table(boards[1]) and boards[0].columns[0].pairs == boards[1].columns[0].pairs


def test_the_command(tmp_path, capsys):
    from vitrail.cli.main import main

    pytest.importorskip("matplotlib")
    write(tmp_path / "r/a.jsonl", right(0.9), model="a")
    write(tmp_path / "r/b.jsonl", right(0.5), model="b")
    assert main(["leaderboard", str(tmp_path / "r"), "--html", str(tmp_path / "l.html")]) == 0
    assert "90.0 [" in capsys.readouterr().out and "<svg" in (tmp_path / "l.html").read_text()
    assert main(["leaderboard", str(tmp_path / "r"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"][0]["cells"]["a"]["ranks"] == [1, 1]
    assert page_of(leaderboard(tmp_path / "r")).html() == (tmp_path / "l.html").read_text()
    (tmp_path / "none").mkdir()
    for place, said in (("none", "no file of answers below"), ("gone", "no folder")):
        assert main(["leaderboard", str(tmp_path / place)]) == 2 and said in capsys.readouterr().err

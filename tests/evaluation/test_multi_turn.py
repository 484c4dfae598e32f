"""Several turns: each ranked behind what was said before, own answers or right ones in between."""

from __future__ import annotations

import pytest

from conftest import picture
from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.multi_turn import turns_of

KINDS, NAMES, COLOURS = ("an animal", "a vehicle"), ("a cat", "a bus", "a cow"), ("red", "blue")


def said(role: str, *parts) -> Message:
    return Message(
        role=role, content=tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    )


def record(number: int, turns: int = 2, **meta) -> Chat:
    """Kind, then (with three turns) name, then colour."""
    messages = [said("user", picture(number), "What kind?"), said("assistant", KINDS[number % 2])]
    told = [{"options": list(KINDS), "answer": number % 2}]
    if turns == 3:
        messages += [said("user", "Which one?"), said("assistant", NAMES[number % 3])]
        told.append({"options": list(NAMES), "answer": number % 3})
    return Chat(
        id=f"q{number}",
        messages=(*messages, said("user", "Which colour?")),
        choices=Choices(options=COLOURS, answer=0),
        meta={"turns": told, **meta},
    )


def answers(nano, place, source, name="turns", batch_size=4, **parts):
    task = Task(name=name, **{"inferencer": "multi_turn", **parts})
    return read_answers(run_task(task, nano, place, source=ListSource(source), batch_size=batch_size)).rows


def test_each_turn_is_what_ranking_gives_behind_the_answers_before(nano, tmp_path):
    source = [record(n, 2 + n % 2) for n in range(4)]
    rows = answers(nano, tmp_path, source)
    assert [len(row["turns"]) for row in rows] == [1, 2, 1, 2]
    options = (KINDS, NAMES)
    for row, chat in zip(rows, source, strict=True):
        messages = list(chat.messages)
        for number, turn in enumerate(row["turns"]):
            alone = Chat(
                id=f"{row['id']}-{number}",
                messages=tuple(messages[: 2 * number + 1]),
                choices=Choices(options=options[number], answer=0),
            )
            (plain,) = answers(nano, tmp_path / alone.id, [alone], name="plain", inferencer="likelihood")
            assert (
                plain["values"] == pytest.approx(turn["values"], abs=1e-5)
                and plain["choice"] == turn["choice"]
            )
            messages[2 * number + 1] = said("assistant", options[number][turn["choice"]])
        last = chat.model_copy(update={"messages": tuple(messages)})
        (plain,) = answers(
            nano, tmp_path / f"{row['id']}-last", [last], name="plain", inferencer="likelihood"
        )
        assert plain["values"] == pytest.approx(row["values"], abs=1e-5)


def test_right_answers_in_between_are_plain_ranking_of_the_last_turn(nano, tmp_path):
    source = [record(n, 3) for n in range(4)]
    forced = answers(nano, tmp_path, source, "forced", inferencer={"name": "multi_turn", "earlier": "right"})
    plain = answers(nano, tmp_path, source, "plain", inferencer="likelihood")
    for one, other in zip(forced, plain, strict=True):
        assert one["values"] == pytest.approx(other["values"], abs=1e-5)
    alone = answers(nano, tmp_path, source, "alone", 1, inferencer={"name": "multi_turn", "earlier": "right"})
    for one, other in zip(forced, alone, strict=True):
        assert one["values"] == pytest.approx(other["values"], abs=1e-5)


def test_every_turn_must_be_right(nano, tmp_path):
    source = [record(n) for n in range(4)]
    rows = answers(nano, tmp_path, source, metric="every_turn")
    for row in rows:
        assert row["correct"] == (row["choice"] == 0 and row["turns"][0]["correct"])
    last = answers(nano, tmp_path, source, "last")
    assert sum(row["correct"] for row in last) >= sum(row["correct"] for row in rows)


def test_records_without_turns_are_set_aside_with_the_reason(nano, tmp_path):
    source = [
        record(0),
        record(1, turns=2).model_copy(update={"meta": {}}),
        record(2).model_copy(update={"meta": {"turns": [{"options": ["a"], "answer": 0}]}}),
        record(3).model_copy(update={"meta": {"turns": [{"options": ["a", "b"], "answer": 2}]}}),
    ]
    task = Task(name="turns", inferencer="multi_turn")
    path = run_task(task, nano, tmp_path, source=ListSource(source))
    assert score(path).overall.n == 1
    reasons = [row["reason"] for row in read_answers(path).set_aside]
    assert "meta.turns is None" in reasons[0] and "meta.turns[0].options" in reasons[1]
    assert "meta.turns[0].answer is 2" in reasons[2]


def test_settings_are_checked():
    assert len(turns_of(record(0, 3))) == 2
    with pytest.raises(ValueError, match="ranked by likelihood"):
        Task(name="t", inferencer={"name": "multi_turn", "then": "generate"})
    with pytest.raises(ValueError, match="needs turns"):
        Task(name="t", metric="every_turn").part("metric").judge({"choice": 0, "answer": 0})

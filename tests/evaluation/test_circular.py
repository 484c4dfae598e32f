"""Rotations come back to the beginning, and only an answer that follows its option all round is right."""

from __future__ import annotations

import random

import pytest

from conftest import chat
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.circular import Rotations, all_round, circular_score, rotated


def question(number, options=("a", "b", "c", "d"), answer=0):
    asked = chat(f"question {number}", seed=number, id=f"q{number}")
    return asked.model_copy(update={"choices": Choices(options=options, answer=answer)})


def said(record, turn):
    options = rotated(record, turn).choices.options
    return [option[0].text for option in options]


def test_n_rotations_come_back():
    record = question(0, answer=2)
    turns = [rotated(record, turn) for turn in range(4)]
    assert said(record, 1) == ["b", "c", "d", "a"] and said(record, 4) == said(record, 0)
    assert {one.choices.answer for one in turns} == {0, 1, 2, 3}
    assert all(one.choices.options[one.choices.answer][0].text == "c" for one in turns)
    for place in range(4):
        assert {said(record, turn)[place] for turn in range(4)} == {"a", "b", "c", "d"}
    assert [one.id for one in turns] == ["q0#0", "q0#1", "q0#2", "q0#3"]


def test_equal_options_are_refused():
    with pytest.raises(ValueError, match="two equal options"):
        rotated(question(0, ("a", "b", "a")), 1)


def rows(records, choose):
    """Rows as a file of answers holds them, answered by ``choose(options, answer)``."""
    found = []
    for record in Rotations(ListSource(records)):
        options, answer = [one[0].text for one in record.choices.options], record.choices.answer
        taken = choose(options, answer)
        groups = {"groups": record.meta["groups"], "options": options, "answer": answer, "id": record.id}
        found.append({**groups, "prediction": taken, "correct": taken == answer, "parsed": True})
    return found


def test_a_constant_letter_gets_its_share_once_and_nothing_all_round():
    records = [question(n, answer=n % 4 if n % 3 else 0) for n in range(40)]
    share = sum(record.choices.answer == 0 for record in records) / 40
    found = circular_score(rows(records, lambda options, answer: 0))
    assert found.vanilla == share and found.circular == 0.0
    assert found.by_position == (1.0, 0.0, 0.0, 0.0) and found.taken == (1.0, 0.0, 0.0, 0.0)
    assert found.bias == pytest.approx(0.433, abs=1e-3)


def test_an_oracle_is_right_all_round_and_a_guess_rarely():
    records = [question(n, answer=n % 4) for n in range(400)]
    oracle = circular_score(rows(records, lambda options, answer: answer))
    assert (oracle.vanilla, oracle.circular, oracle.bias) == (1.0, 1.0, 0.0)
    draw = random.Random(3)
    guess = rows(records, lambda options, answer: draw.randrange(4))
    found = circular_score(guess)
    assert found.circular < 0.02 and 0.18 < found.vanilla < 0.32 and found.circular <= found.vanilla
    for turn in all_round(guess):
        once = next(row for row in guess if row["id"] == f"{turn['id']}#0")
        assert turn["correct"] <= once["correct"], "never right all round where it was wrong once"
    chance = [{**row, "correct": 1 / 4} for row in guess]
    assert {row["correct"] for row in all_round(chance)} == {1 / 256}


def test_a_question_that_lacks_a_turn_is_in_no_figure():
    some = rows([question(0), question(1)], lambda options, answer: answer)[:-1]
    found = circular_score(some)
    assert (found.n, found.incomplete) == (1, 1)
    with pytest.raises(ValueError, match="no question has all its rotations"):
        circular_score(some[:2])


def test_a_model_asked_all_round(nano, tmp_path):
    source = Rotations(ListSource([question(n, answer=n % 4) for n in range(3)]))
    found = score(run_task(Task(name="t"), nano, tmp_path, source=source))
    assert found.overall.n == 12 and found.overall.clusters == 3
    assert (found.official.rows, found.official.answered, found.official.missing) == (3, 3, 0)
    names = [one.name for one in found.official.figures]
    assert names == ["overall", "circular"]
    # The text is what is ranked, so that its place does not matter.
    assert found.official["overall"].value == found.official["circular"].value
    assert found.official["circular"].random == pytest.approx(1 / 256)

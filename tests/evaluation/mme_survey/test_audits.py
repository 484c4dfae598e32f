"""Audits on answers worked by hand, and on a set whose answer stands in the question."""

from __future__ import annotations

import pytest

from conftest import chat
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run_task
from vitrail.evaluation.circular import Rotations
from vitrail.evaluation.mme_survey.audits import (
    answer_balance,
    audit,
    blind_gap,
    chance_corrected,
    cohens_kappa,
    effective_items,
    multimodal_gain,
    order_consistency,
    position_bias,
    redundancy,
    sensitivity,
    text_overlap,
)


def rows(right, answers=None):
    return [
        {
            "id": f"q{n}",
            "row": n,
            "kind": "k",
            "cluster": f"p{n}",
            "options": ["a", "b", "c", "d"],
            "answer": (answers or [0] * len(right))[n],
            "correct": one,
        }
        for n, one in enumerate(right)
    ]


def test_gains_and_leaks_by_hand():
    assert multimodal_gain(0.6, 0.4, 0.3) == pytest.approx((0.2, 0.1))
    assert multimodal_gain(0.6, 0.2, 0.3)[1] == 0.0
    with pytest.raises(ValueError, match="S_wv is 40"):
        multimodal_gain(0.6, 40, 0.3)


def test_a_text_leaky_set_has_no_blind_gap_and_an_image_only_one_has():
    seen, leaky, honest = [True] * 40, [True] * 40, [n % 4 == 0 for n in range(40)]
    assert blind_gap(rows(seen), rows(leaky)).value == 0.0
    gap = blind_gap(rows(seen), rows(honest))
    assert gap.value == 0.75 and gap.interval[0] > 0.5
    with pytest.raises(ValueError, match="no question in common"):
        blind_gap(rows(seen), [])


def test_balance_of_answers():
    even, skewed = [n % 4 for n in range(40)], [0] * 36 + [1, 2, 3, 1]
    assert answer_balance(rows([True] * 40, even))[0].value == pytest.approx(1.0)
    balance, guess = answer_balance(rows([True] * 40, skewed))
    assert balance.value < 0.4 and guess.value > 0.8


def turned(choose):
    found = []
    for n in range(8):
        asked = chat("?", seed=n, id=f"q{n}")
        record = asked.model_copy(update={"choices": Choices(options=("a", "b", "c", "d"), answer=0)})
        for one in Rotations(ListSource([record])):
            taken = choose(one.choices.answer)
            fields = {"groups": one.meta["groups"], "options": list("abcd"), "answer": one.choices.answer}
            found.append({**fields, "prediction": taken, "correct": taken == one.choices.answer})
    return found


def test_position_bias_of_an_oracle_and_of_a_constant_letter():
    assert [one.value for one in position_bias(turned(lambda answer: answer))] == [0.0, 0.0]
    bias, gap = position_bias(turned(lambda answer: 0))
    assert bias.value == pytest.approx(0.433, abs=1e-3) and gap.value == 1.0, "here A is right in the file"
    with pytest.raises(ValueError, match="ask with --circular"):
        position_bias(rows([True]))


def test_small_measures():
    assert chance_corrected(0.25, 0.25) == 0.0 and chance_corrected(1.0, 0.25) == 1.0
    assert cohens_kappa([1, 1, 0, 0], [1, 1, 0, 0]) == 1.0 and cohens_kappa([1, 1, 0, 0], [1, 0, 1, 0]) == 0.0
    assert order_consistency([0, 1, 1], [1, 0, 1]) == pytest.approx(2 / 3)
    assert sensitivity("prompt", [rows([True, True]), rows([True, False])]).value == pytest.approx(0.25)
    assert redundancy([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]).value == 1.0
    same = [[1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
    unlike = [[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]]
    assert effective_items(same) == pytest.approx(1.0) and effective_items(unlike) > 2.5
    training = ["it was seen that the red car stands left of the house today"]
    questions = ["Is it true that the red car stands left of the house?", "Is the sky blue?", "red car"]
    assert text_overlap(questions, training, n=6) == pytest.approx(2 / 3)


def test_files_of_answers_are_audited(nano, tmp_path):
    records = [
        chat(f"Question {n}", seed=n, id=f"q{n}").model_copy(
            update={"choices": Choices(options=("a cat", "a dog"), answer=n % 2)}
        )
        for n in range(6)
    ]
    source = ListSource(records)
    seen, blind = (
        run_task(Task(name="t"), nano, tmp_path, one, source=source) for one in ("trained", "blind")
    )
    circular = run_task(Task(name="c"), nano, tmp_path, source=Rotations(source))
    names = [
        one.name for one in audit({"seen": seen, "blind": blind, "language": blind, "circular": circular})
    ]
    assert names == [
        "accuracy", "answer balance", "majority guess", "above chance", "blind gap", "multimodal gain", "leakage",
        "position bias", "vanilla less circular",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="give 'seen'"):
        audit({"blind": blind})

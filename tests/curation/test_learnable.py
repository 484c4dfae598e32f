"""Hard but learnable sequences: scores against a plain loop, robustness, and the budget."""

import math

import numpy as np
import pytest
import torch

from conftest import chat
from vitrail.curation.learnable import SequenceScorer, select_challenging


def records(nano, count=5):
    texts = ["a cat", "a red cat on a tree", "two dogs", "it is a house by the river", "no"]
    return [nano.encoder.encode(chat("what?", texts[i], seed=i, images=i % 2)) for i in range(count)]


@pytest.mark.parametrize("mode", ["drop", "zero"])
@pytest.mark.parametrize("reduce", ["median", "mean"])
def test_scores_equal_a_plain_loop_whatever_order_and_batch(nano, mode, reduce):
    made = records(nano)
    found = SequenceScorer(nano, k=40, reduce=reduce, mode=mode, batch_size=2)(made)
    for score, record in zip(found, made, strict=True):
        batch = nano.collator()([record])
        with torch.no_grad():
            logits = nano.model(**{n: v for n, v in batch.items() if n != "labels"}).logits[0]
        values = []
        for place in range(1, record.length):
            label = int(batch["labels"][0, place])
            if label == -100:
                continue
            likeliest = logits[place - 1].topk(40).indices.tolist()
            loss = -float(logits[place - 1].log_softmax(-1)[label])
            if label in likeliest:
                values.append(loss)
            elif mode == "zero":
                values.append(0.0)
        counted = any(value for value in values)
        expected = (np.median(values) if reduce == "median" else np.mean(values)) if counted else math.nan
        assert score == pytest.approx(expected, rel=1e-4, nan_ok=True)
    order = [3, 0, 4, 1, 2]
    again = SequenceScorer(nano, k=40, reduce=reduce, mode=mode, batch_size=3)([made[i] for i in order])
    np.testing.assert_allclose(again, found[order], rtol=1e-5)
    assert not nano.model.training


def test_a_sequence_outside_the_likeliest_has_no_score_and_a_median_is_robust(nano):
    scorer = SequenceScorer(nano, fewest=2)
    losses = np.array([1.0, 2.0, 3.0, 2.5, 1.5])
    every = np.ones(5, dtype=bool)
    assert math.isnan(scorer.score(losses, ~every)) and math.isnan(scorer.score(losses, np.arange(5) == 0))
    spiked = losses.copy()
    spiked[2] = 1e6
    assert scorer.score(spiked, every) == scorer.score(losses, every) == 2.0
    assert SequenceScorer(nano, reduce="mean").score(spiked, every) > 1e5
    half = np.array([True, True, False, False, False])
    assert scorer.score(losses, half) == 1.5 and SequenceScorer(nano, mode="zero").score(losses, half) == 0.0


def test_the_hardest_fill_the_budget_and_those_without_a_score_never_come():
    lengths, scores = [10, 10, 10, 10, 10], [1.0, 5.0, math.nan, 3.0, 5.0]
    assert select_challenging(lengths, scores, 20) == [1, 4]
    assert select_challenging(lengths, scores, 35) == [1, 3, 4]
    assert select_challenging(lengths, scores, 40) == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0, "token_budget is 0"),
        (41, "at most 40, the tokens of the 4 records"),
        (5, "first record alone is longer"),
    ],
)
def test_budgets_that_cannot_be(budget, message):
    with pytest.raises(ValueError, match=message):
        select_challenging([10] * 5, [1.0, 5.0, math.nan, 3.0, 5.0], budget)


def test_bad_settings(nano):
    with pytest.raises(ValueError, match="k is 0"):
        SequenceScorer(nano, k=0)
    with pytest.raises(ValueError, match="2 lengths and 1 scores"):
        select_challenging([1, 2], [1.0], 1)

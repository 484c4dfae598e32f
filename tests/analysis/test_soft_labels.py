"""Bias and variance of soft labels on a language whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitrail.analysis.soft_labels import bias_variance_probe

WORDS = 7
TABLE = 2 * torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(0))
"""Logits of the next word after each word: the truth."""


def markov(shift=0.0, scale=1.0, seed=1):
    noise = torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(seed))
    table = scale * TABLE + shift * noise
    return lambda input_ids, **_: SimpleNamespace(logits=table[input_ids])


def truth(ids):
    return TABLE[ids].softmax(-1)


def batches(count=4, rows=16, tokens=12):
    generator = torch.Generator().manual_seed(2)
    found = []
    for _ in range(count):
        ids = torch.randint(0, WORDS, (rows, 1), generator=generator)
        for _ in range(tokens - 1):
            drawn = torch.multinomial(truth(ids[:, -1]), 1, generator=generator)
            ids = torch.cat([ids, drawn], 1)
        found.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()})
    return found


def test_a_teacher_that_is_the_truth_has_no_bias_and_soft_labels_have_less_variance():
    found = bias_variance_probe(markov(0.5), markov(), batches(), [0.0, 0.5, 1.0], truth=truth)
    assert found.bias == pytest.approx(0.0, abs=1e-6)
    assert found.variance[1.0] < found.variance[0.5] < found.variance[0.0]


def test_the_bias_is_the_mean_total_variation_and_hard_buckets_come_last():
    teacher = markov(1.0)
    found = bias_variance_probe(markov(), teacher, batches(), [0.0], truth=truth, buckets=3)
    total = []
    for batch in batches():
        p, d = teacher(batch["input_ids"]).logits.softmax(-1), truth(batch["input_ids"])
        total.append((0.5 * (p - d).abs().sum(-1))[:, :-1].mean(1))
    assert found.bias == pytest.approx(float(torch.cat(total).mean()), rel=1e-5) and found.bias > 0.1
    assert len(found.buckets) == 3
    one = bias_variance_probe(markov(), teacher, batches(), [0.0], buckets=1)
    assert np.isnan(one.bias) and one.buckets == () and one.variance == found.variance


def test_variance_equals_numpy_on_unlabelled_positions_left_out():
    made = batches(1)
    made[0]["labels"][:, :5] = -100
    student, teacher = markov(0.5), markov(1.0)
    found = bias_variance_probe(student, teacher, made, [0.3], temperature=0.5, buckets=1)
    ids = made[0]["input_ids"]
    log_q = student(ids).logits.log_softmax(-1)[:, 4:-1]
    p = (teacher(ids).logits / 0.5).softmax(-1)[:, 4:-1]
    onehot = F.one_hot(ids[:, 5:], WORDS).float()
    losses = -((0.7 * onehot + 0.3 * p) * log_q).sum(-1).mean(1)
    assert found.variance[0.3] == pytest.approx(float(losses.var()), rel=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match="omega is 2"):
        bias_variance_probe(markov(), markov(), batches(1), [2])
    with pytest.raises(ValueError, match="too few for 40 buckets"):
        bias_variance_probe(markov(), markov(), batches(1), [0.5], buckets=40)
    made = batches(1)
    made[0]["labels"][0] = -100
    with pytest.raises(ValueError, match="no learnt token"):
        bias_variance_probe(markov(), markov(), made, [0.5])

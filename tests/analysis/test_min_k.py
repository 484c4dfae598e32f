"""Min-K % against a loop over tokens, on families of models; planted members; the scores' own properties."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
import torch

from conftest import chat
from vitrail.analysis.membership import (
    build_temporal_benchmark,
    contaminate,
    contamination_rate,
    membership_report,
    truncate_words,
)
from vitrail.analysis.min_k import (
    lowercase_score,
    mean_nll,
    min_k,
    neighbour_score,
    reference_score,
    zlib_score,
)
from vitrail.analysis.token_logprobs import token_logprobs
from vitrail.data.records import Document, Text
from vitrail.models.loading import load

TEXTS = [
    "a red fish",
    "the cow is left of the house and the dog",
    "two cats",
    "Where is the blue boat? center",
]


@pytest.mark.parametrize("name", ["nano", "llava", "qwen2_5_vl", "smolvlm"])
def test_equals_one_token_after_the_other(name, nano, saved_family):
    bundle = nano if name == "nano" else load(saved_family(name))
    found = token_logprobs(bundle, TEXTS, batch_size=4)
    alone = [token_logprobs(bundle, [text], batch_size=1)[0] for text in TEXTS]
    for text, got, other in zip(TEXTS, found, alone, strict=True):
        ids = bundle.tokenizer(text)["input_ids"]
        loop = []
        with torch.no_grad():
            for t in range(1, len(ids)):
                logits = bundle.model(
                    input_ids=torch.tensor([ids[:t]]), attention_mask=torch.ones(1, t, dtype=torch.long)
                ).logits[0, -1]
                loop.append(float(torch.log_softmax(logits.float(), -1)[ids[t]]))
        assert got == pytest.approx(loop, abs=2e-5) and other == pytest.approx(got, abs=1e-5)
        for k in (0.2, 0.4, 1.0):
            if int(len(loop) * k):
                wanted = -sum(sorted(loop)[: int(len(loop) * k)]) / int(len(loop) * k)
                assert min_k(loop, k) == pytest.approx(wanted, abs=1e-6)


def test_an_answer_is_scored_behind_its_picture(nano):
    one = chat("What is it?", "a red fish", seed=1)
    other = chat("What is it?", "a red fish", seed=2)
    first, second = token_logprobs(nano, [one, other])
    assert len(first) == len(nano.encoder.text_ids("a red fish")) and not np.allclose(first, second)


def test_properties():
    rng = np.random.default_rng(0)
    lp = -rng.exponential(size=50)
    assert min_k(lp, 1.0) == pytest.approx(mean_nll(lp)) and min_k(lp, 1 / 50) == pytest.approx(-lp.min())
    values = [min_k(lp, k) for k in (0.05, 0.1, 0.2, 0.5, 1.0)]
    assert values == sorted(values, reverse=True), "as K grows the mean log-probability rises"
    assert min_k([1.0 * lp for lp in lp], 0.29) == min_k(lp[::-1], 0.29)
    uniform = np.full(12, -np.log(7))
    assert {round(min_k(uniform, k), 9) for k in (0.1, 0.5, 1.0)} == {round(np.log(7), 9)}
    assert lowercase_score(2.5, 2.5) == -1 and reference_score(2.0, 3.0) == -1
    assert neighbour_score(2.0, [3.0, 5.0]) == -2 and zlib_score(3.0, "aaaaaaaa") > 0
    assert membership_report([1.0] * 8, [0, 1] * 4).auc.value == 0.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: min_k([-1.0] * 4, 0.2), "needs 5 at least"),
        (lambda: min_k([-1.0], 0.0), "k is 0"),
        (lambda: min_k([], 0.5), "two tokens at least"),
        (lambda: min_k([float("nan")], 1.0), "not|NaN"),
        (lambda: zlib_score(1.0, ""), "empty"),
        (lambda: neighbour_score(1.0, []), "neighbours is empty"),
        (lambda: contaminate([1], [2], -1), "repeats is -1"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_texts_that_cannot_be_scored(nano):
    for record in (" ", Document(content=(Text(text=" "),))):
        with pytest.raises(ValueError, match="is empty"):
            token_logprobs(nano, [record])
    with pytest.raises(ValueError, match="context is"):
        token_logprobs(nano, ["a red fish " * 2000])


def test_dated_benchmarks_and_planted_items():
    assert truncate_words("a  b\nc d", 3) == "a b c" and truncate_words("a b", 3) is None
    records = [{"text": "w " * n, "date": date(2010 + n % 20, 1, 1)} for n in range(1, 60)]
    rows = build_temporal_benchmark(records, date(2017, 1, 1), date(2023, 1, 1), (8, 16))
    assert all(len(row["input"].split()) == length for length in rows for row in rows[length])
    with pytest.raises(ValueError, match="one class alone"):
        build_temporal_benchmark(records, date(2017, 1, 1), date(2023, 1, 1), (59,))
    stream = contaminate(list(range(20)), ["x", "y"], 3, seed=1)
    assert [one for one in stream if isinstance(one, int)] == list(range(20))
    assert stream.count("x") == stream.count("y") == 3
    assert stream == contaminate(list(range(20)), ["x", "y"], 3, seed=1)
    assert contamination_rate([1, 5, 1, 1], ["a", "a", "b", "b"], 2) == {"a": 0.5, "b": 1.0}


def test_shuffled_labels_are_chance():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=400)
    areas = [membership_report(scores, rng.permutation([0, 1] * 200)).auc.value for _ in range(20)]
    assert abs(np.mean(areas) - 0.5) < 0.03

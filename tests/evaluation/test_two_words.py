"""A number from two words: the softmax itself, generation's own scores, words that cannot be told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from conftest import chat
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.two_words import Assessment, TwoWords, correlations, weighted
from vitrail.inference.inputs import model_inputs
from vitrail.models.loading import load


def test_it_is_the_sigmoid_of_the_difference():
    good, poor = 1.7, -0.4
    assert weighted([good, poor], [1, 0]) == pytest.approx(1 / (1 + math.exp(-(good - poor))))
    assert weighted([poor, good], [1, 0]) == pytest.approx(1 - weighted([good, poor], [1, 0]))
    assert weighted([good + 50, poor + 50], [1, 0]) == pytest.approx(weighted([good, poor], [1, 0]))
    assert weighted([1, 1, 1], [5, 3, 1]) == 3
    with pytest.raises(ValueError, match="logit is"):
        weighted([float("nan"), 0], [1, 0])


@pytest.mark.parametrize("name", ["nano", "llava", "qwen2_5_vl", "smolvlm"])
def test_one_forward_equals_generation(name, nano, saved_family):
    bundle = nano if name == "nano" else load(saved_family(name))
    part = TwoWords(TwoWords.Config(words={"red": 1.0, "blue": 0.0}))
    asked = [
        part.encode(bundle, Prompt(chat("Rate the quality of the image.", seed=seed)), None)
        for seed in (1, 2)
    ]
    rows = part.ask(bundle, asked, 2)
    tokens = part.tokens(bundle)
    for one, row in zip(asked, rows, strict=True):
        with torch.no_grad():
            found = bundle.model.generate(
                **model_inputs(bundle.model, bundle.collator()([one.prompt])),
                max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
        x = found.logits[0][0].float()[tokens]
        assert row["score"] == pytest.approx(float(torch.softmax(x, 0)[0]), abs=1e-5)
    swapped = TwoWords(TwoWords.Config(words={"blue": 1.0, "red": 0.0}))
    other = swapped.ask(
        bundle, [swapped.encode(bundle, Prompt(chat("Rate the quality of the image.", seed=1)), None)], 1
    )
    assert other[0]["score"] == pytest.approx(1 - rows[0]["score"], abs=1e-5)
    assert Assessment(Assessment.Config()).judge(rows[0]).parsed


def test_words_that_begin_alike_are_refused(nano):
    prompt = Prompt(chat("Rate the quality of the image."))
    with pytest.raises(ValueError, match="begin with the same token"):
        TwoWords(TwoWords.Config(words={"red": 1.0, "red fish": 0.0})).encode(nano, prompt, None)
    with pytest.raises(ValueError, match="two words or more"):
        TwoWords.Config(words={"red": 1.0})


def test_ranks_do_not_depend_on_the_temperature():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(40, 2)) * 3, rng.normal(size=40)
    found = [correlations([weighted(list(x), [1, 0], t) for x in logits], truth) for t in (1.0, 100.0)]
    assert (
        found[0]["SRCC"][0] == pytest.approx(found[1]["SRCC"][0])
        and found[0]["PLCC"][0] != found[1]["PLCC"][0]
    )
    assert correlations([1.0] * 5, range(5)) == {"SRCC": None, "PLCC": None}
    value, low, high = correlations(range(50), [x + (x % 7) for x in range(50)])["SRCC"]
    assert low < value < high <= 1
    with pytest.raises(ValueError, match="3 at least"):
        correlations([1, 2], [1, 2])

"""Yes and no against a plain forward of each question; the reward of whole answers against sums by hand."""

import pytest
import torch

from conftest import chat, picture
from vitrail.inference.answerers import question
from vitrail.inference.generation import GenerationSettings, Reply, generate
from vitrail.inference.judging import REQUEST, judge, judge_claims, read_yes_no, yes_no_tokens
from vitrail.inference.self_reward import SelfReward, answered
from vitrail.models.testbeds import nano as testbed


@pytest.fixture(scope="module")
def other():
    """Other weights of the same shape."""
    bundle = testbed.build(seed=1)
    torch.manual_seed(2)
    for parameter in bundle.model.language.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return bundle


QUESTIONS = ["Is there a dog?", "Is it true that the sky is green and has been so for long?", "Is it?"]


@torch.no_grad()
def test_probabilities_are_those_of_a_plain_forward(other):
    yes, no = yes_no_tokens(other)
    image = picture(seed=3)
    found = judge_claims(other, image, QUESTIONS, batch_size=2)
    for text, judged in zip(QUESTIONS, found, strict=True):
        prompt = other.encoder.encode(
            question(f"{text}\n{REQUEST}", images=[image]), add_generation_prompt=True
        )
        batch = other.collator()([prompt])
        batch.pop("labels"), batch.pop("layout")
        shares = other.model(**batch, use_cache=False).logits[0, -1].softmax(-1)
        assert judged.p_yes == pytest.approx(float(shares[yes].sum()), abs=1e-6)
        assert judged.p_no == pytest.approx(float(shares[no].sum()), abs=1e-6)
        assert judged.accept == (judged.p_yes > judged.p_no)
    one_by_one = judge_claims(other, image, QUESTIONS[::-1], batch_size=1)[::-1]
    assert [one.accept for one in one_by_one] == [one.accept for one in found]
    assert judge_claims(other, picture(seed=4), QUESTIONS)[0].p_yes != found[0].p_yes
    assert judge(other, []) == []


def test_a_tokenizer_without_the_words_is_refused(other, monkeypatch):
    monkeypatch.setattr(type(other.encoder), "text_ids", lambda self, text: [1, 2])
    with pytest.raises(ValueError, match="has neither 'yes' nor 'Yes' as one token"):
        yes_no_tokens(other)


@pytest.mark.parametrize(
    ("text", "said"),
    [("Yes.", True), ("no, it is not", False), ("**Yes**", True), ("Maybe yes", None), ("", None)],
)
def test_words_are_read(text, said):
    assert read_yes_no(text) is said


PROMPT = chat("What is this?", seed=5)


@torch.no_grad()
def test_the_reward_is_a_mean_of_log_ratios(nano, other):
    prompt = other.encoder.encode(PROMPT, add_generation_prompt=True)
    replies = [
        *generate(other, [PROMPT], GenerationSettings(max_new_tokens=6, temperature=1.0, seed=1)),
        Reply("x", tuple(other.encoder.text_ids("two red cows")), True),
    ]
    rows = [answered(other, prompt, one) for one in replies]
    found = SelfReward(other, nano).rewards(rows, batch_size=2)
    for reply, row, value in zip(replies, rows, found, strict=True):
        count = len(reply.tokens) + reply.finished
        assert (row.labels != -100).sum() == count
        total = 0.0
        for sign, bundle in ((1, other), (-1, nano)):
            batch = bundle.collator()([row])
            batch.pop("labels"), batch.pop("layout")
            logps = bundle.model(**batch, use_cache=False).logits[0].log_softmax(-1)
            ids = row.input_ids[-count:].tolist()
            total += sign * sum(float(logps[prompt.length - 1 + k, token]) for k, token in enumerate(ids))
        assert value == pytest.approx(total / count, abs=1e-5)
    best = SelfReward(other, nano).rank(prompt, replies)
    assert best == sorted(range(2), key=lambda index: -found[index])


def test_a_model_gives_itself_no_reward(other):
    prompt = other.encoder.encode(PROMPT, add_generation_prompt=True)
    rows = [answered(other, prompt, Reply("", ids, False)) for ids in ((5, 6), (5, 6, 5, 6))]
    assert SelfReward(other, other).rewards(rows) == [0.0, 0.0]
    with pytest.raises(ValueError, match="the answer has no token"):
        answered(other, prompt, Reply("", (), False))

"""Answers made together are those made alone, whoever comes and goes beside them."""

import pytest
import torch

import families
from conftest import chat
from vitrail.inference import continuous_batching
from vitrail.inference.completion import Following, complete
from vitrail.inference.continuous_batching import Row, Running, why_alone
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.inputs import continuing
from vitrail.inference.methods import using
from vitrail.models.loading import load


def asked(bundle):
    """Prompts of several lengths, with and without pictures, each with its own way of choosing tokens."""
    pictures = 2 if bundle.family.takes_pictures else 0
    chats = [
        chat("what is it", images=min(1, pictures)),
        chat("a longer question about what is to be seen in them, in many words", images=pictures, seed=1),
        chat("hello", images=0),
        chat("and this", "a dog", "why", images=min(1, pictures), seed=3),
        chat("the last one", images=0),
    ]
    prompts = [bundle.encoder.encode(one, add_generation_prompt=True) for one in chats]
    settings = [
        GenerationSettings(max_new_tokens=12),
        GenerationSettings(max_new_tokens=4, temperature=1.0, seed=3),
        GenerationSettings(max_new_tokens=20, temperature=0.7, top_p=0.9, top_k=30, seed=4),
        GenerationSettings(max_new_tokens=9, repetition_penalty=1.3),
        GenerationSettings(max_new_tokens=7, temperature=1.0, seed=5),
    ]
    return list(zip(prompts, settings, strict=True))


def alone(bundle, prompt, settings, **options):
    return complete(bundle, prompt, settings, top_logprobs=3, **options)


def together(bundle, questions, begins, **options):
    """Question n comes at step ``begins[n]``."""
    running = Running(bundle)
    rows = [Row.of(bundle, *one, Following(bundle, top=3, **options)) for one in questions]
    step = 0
    while running.rows or step <= max(begins):
        new = [[row] for row, begin in zip(rows, begins, strict=True) if begin == step]
        if new:
            running.admit(new)
        running.step()
        step += 1
    return [row.following.completion() for row in rows]


def same(one, other):
    assert [token.id for token in one.tokens] == [token.id for token in other.tokens]
    assert (one.text, one.reason, one.made) == (other.text, other.reason, other.made)
    for left, right in zip(one.tokens, other.tokens, strict=True):
        assert left.logprob == pytest.approx(right.logprob, abs=1e-5)
        assert dict(left.top) == pytest.approx(dict(right.top), abs=1e-5)


@pytest.mark.parametrize("begins", [(0, 0, 0, 0, 0), (0, 1, 3, 3, 12), (3, 2, 0, 1, 5)])
def test_nano(nano, begins):
    questions = asked(nano)
    for one, other in zip(together(nano, questions, begins), questions, strict=True):
        same(one, alone(nano, *other))


@pytest.mark.parametrize("family", families.MULTIMODAL)
def test_every_family(saved_family, family):
    bundle = load(saved_family(family))
    assert why_alone(bundle) == ""
    questions = asked(bundle)
    for one, other in zip(together(bundle, questions, (0, 2, 0, 3, 9)), questions, strict=True):
        same(one, alone(bundle, *other))


def test_one_that_leaves_early_changes_no_other(nano):
    questions = asked(nano)
    running = Running(nano)
    rows = [Row.of(nano, *one, Following(nano, top=3)) for one in questions]
    running.admit([[row] for row in rows])
    running.step()
    running.drop(rows[0])
    running.drop(rows[3])
    while running.rows:
        running.step()
    for place in (1, 2, 4):
        same(rows[place].following.completion(), alone(nano, *questions[place]))


def test_answers_to_one_prompt_share_its_forward(nano, monkeypatch):
    prompt = asked(nano)[1][0]
    settings = [GenerationSettings(max_new_tokens=6, temperature=1.0, seed=seed) for seed in range(4)]
    running = Running(nano)
    rows = [Row.of(nano, prompt, one, Following(nano, top=3)) for one in settings]
    tower, looked = nano.model.tower, []
    forward = tower.forward
    monkeypatch.setattr(
        tower,
        "forward",
        lambda pixels, *more, **named: looked.append(len(pixels)) or forward(pixels, *more, **named),
    )
    running.admit([rows])
    assert sum(looked) == 2, "two pictures, whatever the number of answers"
    while running.rows:
        running.step()
    for row, one in zip(rows, settings, strict=True):
        same(row.following.completion(), alone(nano, prompt, one))


def test_a_row_that_is_not_a_number_stays_by_itself(nano):
    """Not a number times nothing is none either: what a row leaves behind must not reach the one after it."""
    questions = asked(nano)
    running = Running(nano)
    first, second = (Row.of(nano, *questions[place], Following(nano)) for place in (1, 2))
    running.admit([[first], [second]])
    with torch.inference_mode():
        for layer in running._cache.cache.layers:
            layer.keys[0] = layer.values[0] = float("nan")
    running.drop(first)
    third = Row.of(nano, *questions[0], Following(nano, top=3))
    running.admit([[third]])
    while running.rows:
        running.step()
    same(third.following.completion(), alone(nano, *questions[0]))


def test_memory_does_not_grow_with_what_has_passed(nano):
    running = Running(nano)
    prompt = asked(nano)[0][0]
    sizes = []
    for number in range(12):
        settings = GenerationSettings(max_new_tokens=30, temperature=1.0, seed=number)
        running.admit([[Row.of(nano, prompt, settings, Following(nano))]])
        for _ in range(8):
            running.step()
        sizes.append(sum(layer.keys.numel() for layer in running._cache.cache.layers))
    assert sizes[-1] <= 1.5 * max(sizes[:6])


def test_equal_tokens_are_decided_as_ever(fresh_nano):
    head = fresh_nano.model.get_output_embeddings()
    with torch.no_grad():
        head.weight[:] = head.weight[0]
    questions = [(prompt, GenerationSettings(max_new_tokens=3)) for prompt, _ in asked(fresh_nano)]
    for one, other in zip(together(fresh_nano, questions, [0, 1, 2, 0, 1]), questions, strict=True):
        same(one, alone(fresh_nano, *other))


def test_who_is_answered_alone(nano, monkeypatch):
    assert why_alone(nano) == ""
    with using(nano, [("gsearch", {"cuts": {1: 0.5}})]) as bundle:
        assert "holds in its decoder" in why_alone(bundle)
    monkeypatch.setattr(continuous_batching, "FAR", {torch.float32: -1.0})
    assert "log-probabilities moved by" in why_alone(nano)


def test_a_recurrent_state_is_seen():
    import transformers as T

    config = T.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    model = T.MambaForCausalLM(config)
    from types import SimpleNamespace

    assert why_alone(SimpleNamespace(model=model))


def test_beams_are_refused(nano):
    prompt = continuing(nano, "hello")
    with pytest.raises(ValueError, match="num_beams is 2; an answer among others has none, use 1"):
        Row.of(nano, prompt, GenerationSettings(num_beams=2), Following(nano))
    long = GenerationSettings(max_new_tokens=100_000)
    with pytest.raises(ValueError, match="more than the model's context"):
        Row.of(nano, prompt, long, Following(nano))

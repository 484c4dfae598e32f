"""transformers' guess about packed samples never strikes in vitrail's own calls."""

from __future__ import annotations

import pytest
import torch
import transformers.masking_utils as masking

from conftest import chat
from models.rules import samples
from vitrail.models.rules import applied, causal, refuse_unruled_resets, same_segment


@pytest.fixture
def no_guess(monkeypatch):
    """Where transformers would guess, it fails."""

    def guess(position_ids):
        raise AssertionError("transformers guesses packed samples from positions")

    monkeypatch.setattr(masking, "find_packed_sequence_indices", guess)


def packed(family):
    model = samples.build(family)
    a = samples.sample(model, family)
    inputs, layout = samples.batch([[a, a]])
    positions = torch.tensor([[*range(a.length), *range(a.length)]])
    return model, inputs, layout, positions


def test_the_guess_is_what_it_was_when_this_was_written(no_guess):
    """No mask, no cache and positions: it would strike. With a mask it does not, and nothing is isolated."""
    model, inputs, layout, positions = packed("llama")
    ids = inputs["input_ids"]
    with pytest.raises(AssertionError, match="guesses"):
        samples.logits(model, {"input_ids": ids}, position_ids=positions, use_cache=False)
    leaking = samples.logits(model, inputs, position_ids=positions, use_cache=False)
    with applied(model, same_segment(), layout):
        isolated = samples.logits(model, inputs, use_cache=False)
    half = layout.shape[1] // 2
    assert samples.apart(leaking[:, half:], isolated[:, half:]) > 1e-3
    assert samples.apart(isolated[:, half:], isolated[:, :half]) < samples.CLOSE


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("family", samples.FAMILIES)
def test_under_a_rule_nothing_is_guessed_without_a_mask(family, cached, no_guess):
    model, inputs, layout, _ = packed(family)
    inputs = {name: value for name, value in inputs.items() if name != "attention_mask"}
    with applied(model, same_segment(), layout):
        found = samples.logits(model, inputs, use_cache=cached)
    half = layout.shape[1] // 2
    assert found.shape[1] == 2 * half
    with applied(model, causal(), layout):
        samples.logits(model, inputs, use_cache=cached)


@pytest.mark.parametrize("cached", [False, True])
def test_our_model_without_a_mask_guesses_nothing(cached, no_guess):
    model, inputs, _, _ = packed("ours")
    masked = samples.logits(model, inputs, use_cache=cached)
    del inputs["attention_mask"]
    assert torch.equal(samples.logits(model, inputs, use_cache=cached), masked)
    text = torch.arange(5, 15).view(1, -1)
    unmasked = samples.logits(model, {"input_ids": text}, use_cache=cached)
    whole = {"input_ids": text, "attention_mask": torch.ones_like(text)}
    assert torch.equal(unmasked, samples.logits(model, whole, use_cache=cached))


def test_our_batches_likelihoods_answers_and_losses_guess_nothing(nano, no_guess):
    from vitrail.inference.generation import GenerationSettings, generate
    from vitrail.inference.likelihood import option_logprobs
    from vitrail.objectives.next_token import NextToken

    chats = [chat("what is this?", seed=1), chat("hello", images=0), chat("and these two?", images=2, seed=2)]
    encoded = [nano.encoder.encode(one, add_generation_prompt=True) for one in chats]
    for side in ("left", "right"):
        batch = nano.collator(side)(encoded)
        assert batch["attention_mask"].shape == batch["input_ids"].shape
        assert torch.equal(batch["attention_mask"].bool(), batch["layout"].present)
    items = [(one, [[5, 6], [7]]) for one in encoded]
    for shared in (True, False):
        option_logprobs(nano.model, nano.collator(), items, share_prompt=shared)
    generate(nano, chats, GenerationSettings(max_new_tokens=2))
    answered = [chat("what is this?", "a tree", seed=1), chat("hello", "yes", images=0)]
    batch = nano.collator()([nano.encoder.encode(one) for one in answered])
    NextToken()(nano.model, batch).total()


def test_our_model_refuses_positions_that_fall_back_unless_a_rule_isolates():
    model, inputs, layout, positions = packed("ours")
    with pytest.raises(ValueError, match=r"same_segment\(\)"):
        model(**inputs, position_ids=positions)
    with applied(model, same_segment(), layout):
        isolated = samples.logits(model, inputs, position_ids=positions)
        assert torch.equal(samples.logits(model, inputs), isolated)


@pytest.mark.parametrize("axes", [2, 4])
def test_positions_that_fall_back_need_a_rule_that_isolates(axes):
    model, _, layout, positions = packed("llama")
    decoder, mask = model.get_decoder(), layout.present.long()
    given = positions if axes == 2 else positions.expand(4, -1, -1)
    with pytest.raises(ValueError, match=r"row 0 fall back at token 8.*same_segment\(\)"):
        refuse_unruled_resets(given, mask, decoder=decoder)
    with pytest.raises(ValueError, match="same_segment"), applied(model, causal(), layout):
        refuse_unruled_resets(given, mask, decoder=decoder)
    with applied(model, same_segment(), layout):
        refuse_unruled_resets(given, mask, decoder=decoder)


def test_positions_that_go_on_are_let_through():
    model = samples.build("llama")
    decoder = model.get_decoder()
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
    counted = (mask.cumsum(-1) - 1).clamp(min=0)
    going_on = {
        "none": None, "counted": counted, "from one": counted + 1, "with gaps": counted * 3,
        "the last": counted[:, -1:], "three axes": counted.expand(3, -1, -1), "the last two": counted[:, -2:],
    }  # fmt: skip
    assert refused(going_on, mask, decoder) == []
    falling = {"twice": torch.tensor([[0, 0, 0, 1, 0], [0, 1, 2, 3, 3]]), "backwards": counted.flip(-1)}
    assert refused(falling, mask, decoder) == list(falling)


def refused(positions, mask, decoder):
    """The names of the positions that are refused."""
    found = []
    for name, given in positions.items():
        try:
            refuse_unruled_resets(given, mask, decoder=decoder)
        except ValueError:
            found.append(name)
    return found

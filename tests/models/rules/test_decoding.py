"""Prefill and decoding with a cache give what the whole sequence gives at once."""

from __future__ import annotations

import pytest
import torch

from models.rules import samples
from vitrail.models.rules import (
    applied,
    frame_causal,
    latest_picture,
    own,
    same_segment,
    visual_isolated,
    window,
)

RULES = {
    "mask": visual_isolated("item") & frame_causal().on([0]),
    "packed": same_segment() | frame_causal(),
    "window": window(4, sinks=2, evict=False),
    "latest": latest_picture(evict=False),
}


def rows(family, model, side="left"):
    return samples.batch([[samples.sample(model, family, seed, words=4 + seed)] for seed in range(2)], side)


def recomputed(model, family, rule, layout, inputs, sequences):
    """The logits of each answered token from one forward over everything."""
    tokens = layout.shape[1]
    whole = samples.continued(inputs, sequences[:, tokens:], family)
    with applied(model, rule, layout):
        return samples.logits(model, whole, use_cache=False)[:, tokens - 1 : -1]


@pytest.mark.parametrize("family", samples.FAMILIES)
@pytest.mark.parametrize("name", RULES)
def test_decoding_equals_the_whole(family, name):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    with applied(model, RULES[name], layout):
        made = samples.generate(model, inputs)
    found = torch.stack(made.logits, 1)
    assert (
        samples.apart(found, recomputed(model, family, RULES[name], layout, inputs, made.sequences))
        < samples.CLOSE
    )


@pytest.mark.parametrize("family", samples.FAMILIES)
def test_padding_and_the_batch_change_nothing(family):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    rule = RULES["mask"] & window(5, sinks=1, evict=False)
    with applied(model, rule, layout):
        together = torch.stack(samples.generate(model, inputs).logits, 1)
    for index in range(2):
        one, alone = samples.batch([[samples.sample(model, family, index, words=4 + index)]])
        with applied(model, rule, alone):
            found = torch.stack(samples.generate(model, one).logits, 1)
        assert samples.apart(together[index : index + 1], found) < samples.CLOSE


@pytest.mark.parametrize("family", ["llama", *samples.TRIO, "paligemma", "gemma3", "ours"])
@pytest.mark.parametrize("name", RULES)
def test_a_static_cache_gives_the_same(family, name):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    with applied(model, RULES[name], layout):
        dynamic = samples.generate(model, inputs)
        static = samples.generate(model, inputs, cache_implementation="static")
    assert torch.equal(static.sequences, dynamic.sequences)
    assert samples.apart(torch.stack(static.logits, 1), torch.stack(dynamic.logits, 1)) < samples.CLOSE


@pytest.mark.parametrize("family", ["llama", *samples.TRIO, "gemma3", "ours"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_beams_and_samples_expand_the_rule(family, attention):
    model = samples.build(family, attention)
    inputs, layout = rows(family, model)
    rule = RULES["mask"]
    with applied(model, rule, layout):
        beams = samples.generate(model, inputs, num_beams=3)
        plain = samples.generate(model, inputs, num_beams=3, use_cache=False)
    assert torch.equal(beams.sequences, plain.sequences)
    torch.manual_seed(0)
    with applied(model, rule, layout):
        several = samples.generate(model, inputs, do_sample=True, num_return_sequences=2)
    doubled = layout.repeat_interleave(2)
    times = {
        name: value.repeat_interleave(2, dim=0)
        for name, value in inputs.items()
        if name not in ("pixel_values", "image_grid_thw")
    }
    pictures = {
        name: torch.cat([one for row in value.chunk(2) for one in (row, row)])
        for name, value in inputs.items()
        if name in ("pixel_values", "image_grid_thw")
    }
    wanted = recomputed(model, family, rule, doubled, {**times, **pictures}, several.sequences)
    assert samples.apart(torch.stack(several.logits, 1), wanted) < samples.CLOSE


@pytest.mark.parametrize("family", ["llama", *samples.TRIO, "qwen3_vl", "internvl", "paligemma", "ours"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_cache_that_forgets_gives_what_the_mask_gives(family, side):
    model = samples.build(family)
    inputs, layout = rows(family, model, side)
    forgets, keeps = window(3, sinks=2).on([0, 2]), window(3, sinks=2, evict=False).on([0, 2])
    if side == "right":  # the prompt alone: a forward, then one more token behind it
        found = []
        for rule in (forgets, keeps):
            with applied(model, rule, layout), torch.no_grad():
                samples.forget(model)
                first = model(**inputs, use_cache=True)
                mask = torch.cat([inputs["attention_mask"], torch.ones(2, 1).long()], 1)
                token = torch.full((2, 1), 9)
                more = {"token_type_ids": torch.ones(2, 1).long()} if family == "paligemma" else {}
                place = mask.sum(-1, keepdim=True) - 1
                more["position_ids"] = place.expand(3, -1, -1) if family in samples.THREE_AXES else place
                second = model(
                    input_ids=token, attention_mask=mask, past_key_values=first.past_key_values, **more
                )
                found.append(second.logits)
        assert samples.apart(found[0], found[1]) < samples.CLOSE
        return
    with applied(model, forgets, layout):
        made = samples.generate(model, inputs, tokens=8)
    with applied(model, keeps, layout):
        wanted = samples.generate(model, inputs, tokens=8)
        beams = samples.generate(model, inputs, tokens=6, num_beams=2)
    assert torch.equal(made.sequences, wanted.sequences)
    assert samples.apart(torch.stack(made.logits, 1), torch.stack(wanted.logits, 1)) < samples.CLOSE
    held = [layer.keys.shape[-2] for layer in made.past_key_values.layers]
    total = layout.shape[1] + 7
    assert held[1] == total and made.past_key_values.get_seq_length() == total
    assert held[0] == held[2] <= 2 * 2 + 3, "two sinks a row, and the last tokens"
    with applied(model, forgets, layout):
        assert torch.equal(samples.generate(model, inputs, tokens=6, num_beams=2).sequences, beams.sequences)


def test_what_either_side_of_or_still_sees_is_not_forgotten():
    model = samples.build("llama")
    inputs, layout = rows("llama", model)
    with applied(model, window(2) | window(4), layout):
        made = samples.generate(model, inputs)
    with applied(model, window(4, evict=False), layout):
        wanted = samples.generate(model, inputs)
    assert torch.equal(made.sequences, wanted.sequences)
    with applied(model, window(2) | own(), layout):
        whole = samples.generate(model, inputs)
    assert whole.past_key_values.layers[0].keys.shape[-2] == layout.shape[1] + 4


def test_caches_that_cannot_forget_are_refused():
    model = samples.build("llama")
    inputs, layout = rows("llama", model)
    with applied(model, window(3), layout):
        with pytest.raises(ValueError, match=r"needs a DynamicCache.*StaticCache"):
            samples.generate(model, inputs, cache_implementation="static")
        made = samples.generate(model, inputs)
    with pytest.raises(ValueError, match="made under a layer rule; go on with it under the same rule"):
        model(input_ids=torch.full((2, 1), 9), past_key_values=made.past_key_values)
    with pytest.raises(ValueError, match="cannot be shortened"):
        made.past_key_values.layers[0].crop(-1)

"""A rule gives the same by every way to attend, at every layer, forward and backward."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, nullcontext

import pytest
import torch

from models.rules import samples
from vitrail.models.rules import (
    applied,
    bidirectional_items,
    causal,
    drop_at,
    frame_causal,
    keep_attended,
    narrowing,
    same_segment,
    visual_isolated,
    window,
)
from vitrail.models.rules.call import Call
from vitrail.models.rules.lowering import BlockMasks, _block_masks, _boolean
from vitrail.models.rules.target import Target

LAYERS = {
    "one": visual_isolated() & same_segment(),
    "several": frame_causal() & window(5, evict=False).on([2]) & visual_isolated("item").on([0, 1]),
}


def rows(family, model, side="left"):
    return samples.batch([[samples.sample(model, family, seed, words=4 + seed)] for seed in range(2)], side)


@pytest.mark.parametrize("family", samples.FAMILIES)
@pytest.mark.parametrize("rule", LAYERS.values(), ids=LAYERS)
def test_eager_equals_sdpa(family, rule):
    found, plain = [], []
    for attention in ("sdpa", "eager"):
        model = samples.build(family, attention)
        inputs, layout = rows(family, model)
        with applied(model, rule, layout):
            found.append(samples.logits(model, inputs))
        plain.append(samples.logits(model, inputs))
    there = layout.present
    assert samples.apart(found[0][there], found[1][there]) < samples.CLOSE
    if family in samples.PICTURES:
        assert samples.apart(found[0][there], plain[0][there]) > 1e-3, "the rule must matter"


@pytest.mark.parametrize("rule", LAYERS.values(), ids=LAYERS)
def test_block_masks_say_the_same_as_plain_ones(rule):
    """What FlexAttention will ask for each pair, without compiling it."""
    model = samples.build("llava")
    _, layout = rows("llava", model)
    call = Call(rule, Target.of(model), layout)
    tokens = layout.shape[1]
    given = {
        "batch_size": 2,
        "q_length": 3,
        "kv_length": tokens,
        "q_offset": tokens - 3,
        "mask_function": lambda b, h, q, k: k <= q,
        "attention_mask": layout.present,
    }
    wanted = _boolean(call, given)
    blocks = _block_masks(call, given)
    blocks = blocks if isinstance(blocks, BlockMasks) else [blocks]
    b, h, q, k = (
        torch.arange(size).view([-1 if i == at else 1 for i in range(4)])
        for at, size in enumerate((2, 1, 3, tokens))
    )
    found = torch.cat([one.mask_mod(b, h, q, k) for one in blocks], dim=1)
    assert torch.equal(found, wanted)
    assert {call.group[layer] for layer in range(3)} == set(range(len(blocks)))


def compiler() -> bool:
    return shutil.which("g++") is not None or shutil.which("clang++") is not None


@pytest.mark.long
@pytest.mark.skipif(not compiler(), reason="FlexAttention on a CPU needs a C++ compiler")
@pytest.mark.parametrize("family", ["llama", "qwen2_vl"])
@pytest.mark.parametrize("rule", LAYERS.values(), ids=LAYERS)
def test_flex_equals_sdpa(family, rule):
    found = []
    for attention in ("sdpa", "flex_attention"):
        model = samples.build(family, attention)
        inputs, layout = rows(family, model)
        with applied(model, rule, layout):
            found.append(samples.logits(model, inputs, use_cache=False))
    there = layout.present
    assert samples.apart(found[1][there], found[0][there]) < samples.CLOSE


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU: FlexAttention has no backward on a CPU"
)
@pytest.mark.parametrize("family", ["llama", "qwen2_vl"])
def test_flex_has_the_gradients_of_sdpa(family):
    found = []
    for attention in ("sdpa", "flex_attention"):
        model = samples.build(family, attention).cuda()
        inputs, layout = rows(family, model)
        inputs, layout = {name: value.cuda() for name, value in inputs.items()}, layout.to("cuda")
        with applied(model, LAYERS["several"], layout):
            model(**inputs, use_cache=False).logits[layout.present].square().mean().backward()
        found.append(model.get_input_embeddings().weight.grad)
    assert samples.apart(found[1], found[0]) < 1e-4


@contextmanager
def masked_by_hand(model, allowed):
    """The slow way: each layer's float mask of eager attention, changed in front of the layer."""

    def hook(index):
        def change(layer, args, kwargs):
            mask = kwargs["attention_mask"]
            closed = torch.finfo(mask.dtype).min
            own = mask == 0
            kwargs["attention_mask"] = torch.where(allowed(index, own), 0.0, closed)
            return args, kwargs

        return change

    layers = model.get_decoder().layers
    handles = [layer.register_forward_pre_hook(hook(i), with_kwargs=True) for i, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", [*samples.TRIO, "internvl", "ovis2", "paligemma", "gemma3", "ours"])
def test_rules_differ_by_layer_as_a_slow_reference_does(family):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    visual, present = layout.visual, layout.present
    rule = frame_causal().on([0]) & visual_isolated().on([1]) & causal().on([2])
    tokens = torch.arange(layout.shape[1])
    lower = (tokens[:, None] >= tokens)[None, None]
    both = (visual[:, :, None] & visual[:, None, :])[:, None]
    same = torch.eye(layout.shape[1], dtype=torch.bool)
    there = present[:, None, None]

    def allowed(index, own):
        return [(own | both) & there, own & (~both | same), lower & there][index]

    with applied(model, rule, layout):
        found = samples.logits(model, inputs)
    slow = samples.build(family, "eager")
    with masked_by_hand(slow, allowed):
        wanted = samples.logits(slow, inputs)
    assert samples.apart(found[present], wanted[present]) < samples.CLOSE
    with applied(model, frame_causal() & visual_isolated(), layout):
        everywhere = samples.logits(model, inputs)
    assert samples.apart(found[present], everywhere[present]) > 1e-3


@pytest.mark.parametrize("family", ["llama", "qwen2_vl", "gemma3"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_heads_may_see_differently(family, attention):
    """Every second head looks at the last two tokens only; other layers have one mask for all heads."""
    model = samples.build(family, attention)
    inputs, layout = rows(family, model)

    def see(layout):
        return lambda b, h, q, k: (h % 2 == 0) | (q - k < 2)

    rule = narrowing("every second head", see, per_head=True, needs_layout=False).on([1])
    heads = (torch.arange(4) % 2 == 0)[None, :, None, None]
    tokens = torch.arange(layout.shape[1])
    near = (tokens[:, None] - tokens < 2)[None, None]
    with applied(model, rule, layout):
        found = samples.logits(model, inputs)
    slow = samples.build(family, "eager")
    with masked_by_hand(slow, lambda index, own: own & (heads | near) if index == 1 else own):
        wanted = samples.logits(slow, inputs)
    there = layout.present
    assert samples.apart(found[there], wanted[there]) < samples.CLOSE
    assert samples.apart(found[there], samples.logits(model, inputs)[there]) > 1e-3


def gradients(family, attention, rule, *, checkpointing=False, outside=False):
    model = samples.build(family, attention)
    inputs, layout = rows(family, model)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    samples.forget(model)
    hold = applied(model, rule, layout)
    with hold as call:
        loss = model(**inputs, use_cache=False).logits[layout.present].square().mean()
        if not outside:
            loss.backward()
    if outside:
        loss.backward()
    assert model.get_decoder().config._attn_implementation == attention
    assert not model.get_decoder()._forward_pre_hooks
    assert call is None or call.shapes_mask or call.kept is not None
    return {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def assert_same(found, wanted):
    assert found.keys() == wanted.keys() and found
    for name, one in found.items():
        if "vision" not in name and "visual" not in name and "tower" not in name:
            assert samples.apart(one, wanted[name]) < 5e-5, name


@pytest.mark.parametrize("family", [*samples.TRIO, "paligemma", "gemma3", "ours"])
def test_gradients_of_eager_and_sdpa_are_equal(family):
    rule = LAYERS["several"]
    assert_same(gradients(family, "eager", rule), gradients(family, "sdpa", rule))


@pytest.mark.parametrize("family", [*samples.TRIO, "paligemma", "ours"])
@pytest.mark.parametrize("outside", [False, True], ids=["inside", "backward outside"])
@pytest.mark.parametrize("rule", ["mask", "drop"])
def test_gradient_checkpointing_changes_nothing(family, outside, rule):
    """Also where the layers are recomputed when the rule is no longer applied."""
    made = LAYERS["several"] if rule == "mask" else keep_attended(1, 0.5) & visual_isolated("item").on([2])
    wanted = gradients(family, "sdpa", made)
    assert_same(gradients(family, "sdpa", made, checkpointing=True, outside=outside), wanted)


@pytest.mark.parametrize("family", ["llama", "qwen2_vl", "gemma3", "ours"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_rule_gives_equal_bits(family, attention):
    model = samples.build(family, attention)
    inputs, layout = rows(family, model)
    plain = samples.logits(model, inputs)
    with applied(model, None, layout) as call:
        assert call is None
        assert torch.equal(samples.logits(model, inputs), plain)
    # The registered functions, without a rule.
    for config in {
        id(m.config): m.config for m in model.get_decoder().modules() if hasattr(m, "config")
    }.values():
        config._attn_implementation = {"sdpa": "vitrail_sdpa", "eager": "vitrail_eager"}[attention]
    assert torch.equal(samples.logits(model, inputs), plain)


@pytest.mark.parametrize("family", ["llama", "llava", "qwen2_vl", "gemma3"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_are_those_of_eager_attention(family, side):
    eager = samples.build(family, "eager")
    inputs, layout = rows(family, eager, side)
    samples.forget(eager)
    with torch.no_grad():
        attentions = eager(**inputs, output_attentions=True).attentions[1]
    last = torch.where(layout.present, torch.arange(layout.shape[1]), -1).amax(-1)
    wanted = attentions[torch.arange(2), :, last]
    for attention in ("sdpa", "eager"):
        model = samples.build(family, attention)
        seen = []

        def keep(one, seen=seen):
            seen.append(one)
            return torch.ones_like(one.alive)

        with applied(model, drop_at(2, keep, scores_of=(1,)), layout):
            samples.logits(model, inputs)
        assert torch.allclose(seen[0].scores[1], wanted, atol=1e-6)
        assert torch.equal(seen[0].alive, layout.present)


def test_a_ready_mask_and_a_rule_are_refused():
    model = samples.build("llama")
    inputs, layout = rows("llama", model)
    ready = torch.ones(2, 1, *layout.shape[1:], layout.shape[1], dtype=torch.bool).tril()
    with applied(model, causal(), layout), pytest.raises(ValueError, match="ready mask of four dimensions"):
        model(input_ids=inputs["input_ids"], attention_mask=ready)


def test_two_models_that_share_a_configuration_are_found_out():
    first = samples.build("llama")
    second = type(first)(first.config).eval()
    inputs, layout = rows("llama", first)
    with applied(first, bidirectional_items(), layout):
        samples.logits(first, inputs)
        if second.get_decoder().config is first.get_decoder().config:
            with pytest.raises(ValueError, match="share one configuration"):
                second(**inputs)
        else:
            with nullcontext():
                second(**inputs)


def test_a_layer_that_does_not_attend_through_the_interface_is_found_out():
    model = samples.build("llama")
    inputs, layout = rows("llama", model)
    attention = model.get_decoder().layers[1].self_attn
    attention.forward = lambda hidden_states, **kwargs: (hidden_states, None)
    with applied(model, causal(), layout), pytest.raises(ValueError, match="did not reach layer 1"):
        model(**inputs)

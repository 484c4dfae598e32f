"""Each ready rule against a loop over pairs, and that padding and packing change nothing."""

from __future__ import annotations

import pytest
import torch

from models.rules import samples
from vitrail.models.layout import Layout, Modality
from vitrail.models.rules import (
    applied,
    bidirectional_items,
    causal,
    frame_causal,
    latest_picture,
    same_segment,
    visual_isolated,
    window,
)
from vitrail.models.rules.call import Call, extended
from vitrail.models.rules.lowering import _boolean
from vitrail.models.rules.target import Target

TOKENS = [  # segment, visual, item, frame
    (0, 0, -1, -1),
    (0, 1, 0, 0),
    (0, 1, 0, 0),
    (0, 1, 0, 1),
    (0, 1, 1, 0),
    (0, 0, -1, -1),
    (1, 0, -1, -1),
    (1, 1, 0, 0),
    (1, 1, 0, 0),
    (1, 0, -1, -1),
]


def layout_of(tokens, left=0, right=0) -> Layout:
    rows = [(-1, -1, -1, -1)] * left + list(tokens) + [(-1, -1, -1, -1)] * right
    segment, visual, item, frame = (torch.tensor(column)[None] for column in zip(*rows, strict=True))
    modality = torch.where(segment < 0, int(Modality.PADDING), int(Modality.TEXT))
    modality = torch.where(visual == 1, int(Modality.IMAGE), modality)
    none = torch.full_like(segment, -1)
    return Layout(
        segment=segment,
        modality=modality,
        item=item,
        frame=frame,
        row=none,
        col=none,
        speaker=none,
        weight=torch.zeros(segment.shape),
        droppable=visual == 1,
    )


def reference(name: str, q: int, k: int) -> bool:
    (sq, vq, iq, fq), (sk, vk, ik, fk) = TOKENS[q], TOKENS[k]
    plain, item, frame = k <= q, vq and vk and (sq, iq) == (sk, ik), False
    frame = item and fq == fk
    rank = sum(one[0] == sk for one in TOKENS[:k])
    return bool(
        {
            "causal": plain,
            "same_segment": plain and sq == sk,
            "token": plain and (not (vq and vk) or q == k),
            "item": plain and (not (vq and vk) or item),
            "latest": plain and sq == sk and (not vk or _latest(q) == ik),
            "frame_causal": plain or frame,
            "bidirectional_items": plain or item,
            "window": plain and q - k < 3,
            "sinks": plain and (q - k < 2 or rank < 1),
            "packed": (plain or item) and sq == sk,
        }[name]
    )


def _latest(q: int) -> int:
    return max(item for segment, _, item, _ in TOKENS[: q + 1] if segment == TOKENS[q][0])


RULES = {
    "latest": latest_picture() & same_segment(),
    "causal": causal(),
    "same_segment": same_segment(),
    "token": visual_isolated(),
    "item": visual_isolated("item"),
    "frame_causal": frame_causal(),
    "bidirectional_items": bidirectional_items(),
    "window": window(3),
    "sinks": window(2, sinks=1),
    "packed": same_segment() | bidirectional_items(),
}


@pytest.fixture(scope="module")
def target():
    return Target.of(samples.build("llama"))


def mask_of(rule, layout: Layout, target: Target) -> torch.Tensor:
    tokens = layout.shape[1]
    return _boolean(
        Call(rule, target, layout),
        {
            "batch_size": 1,
            "q_length": tokens,
            "kv_length": tokens,
            "mask_function": lambda b, h, q, k: k <= q,
            "attention_mask": layout.present,
        },
    )[0, 0]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("left", "right"), [(0, 0), (3, 0), (0, 2)])
def test_equals_a_loop_over_pairs(name, left, right, target):
    count = len(TOKENS)
    wanted = torch.tensor([[reference(name, q, k) for k in range(count)] for q in range(count)])
    mask = mask_of(RULES[name], layout_of(TOKENS, left, right), target)
    inner = slice(left, left + count)
    assert torch.equal(mask[inner, inner], wanted)
    outside = torch.ones(mask.shape[1], dtype=torch.bool)
    outside[inner] = False
    assert not mask[:, outside].any()


def test_tokens_to_come_are_words_of_the_last_segment():
    layout = extended(layout_of(TOKENS, right=1), 14)
    assert layout.segment[0, -3:].tolist() == [1, 1, 1]
    assert layout.segment[0, 10].item() == -1
    assert not layout.visual[0, 10:].any() and not layout.droppable[0, 10:].any()
    assert extended(layout, 5) is layout


@pytest.mark.parametrize("family", samples.FAMILIES)
def test_packed_samples_are_as_if_alone(family):
    """Isolation by perturbation, bit for bit; and a packed sample is what it is alone."""
    model = samples.build(family)
    a, b = samples.sample(model, family, 0), samples.sample(model, family, 1, words=7)
    packed, layout = samples.batch([[a, b]])
    alone, _ = samples.batch([[b]])
    with applied(model, same_segment(), layout):
        together = samples.logits(model, packed)
    count = a.length
    assert samples.apart(together[:, count:], samples.logits(model, alone)) < samples.CLOSE
    first, _ = samples.batch([[a]])
    assert samples.apart(together[:, :count], samples.logits(model, first)) < samples.CLOSE

    other, _ = samples.batch([[samples.changed(a, model), b]])
    with applied(model, same_segment(), layout):
        perturbed = samples.logits(model, other)
    assert torch.equal(perturbed[:, count:], together[:, count:])
    assert (perturbed[:, :count] - together[:, :count]).abs().max() > 1e-2, "the change must matter to A"
    assert (samples.logits(model, packed) - together)[:, count:].abs().max() > 1e-3, (
        "without the rule it leaks"
    )


@pytest.mark.parametrize("family", samples.FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_packing_a_padded_batch_with_a_cache_changes_nothing(family, side):
    model = samples.build(family)
    a, b, c = (samples.sample(model, family, seed, words=4 + seed) for seed in range(3))
    rows = [[a, b], [c, a]]
    batch, layout = samples.batch(rows, side)
    for cached in (False, True):
        with applied(model, same_segment(), layout):
            together = samples.logits(model, batch, use_cache=cached)
        for row, packed in enumerate(rows):
            begin = layout.shape[1] - sum(one.length for one in packed) if side == "left" else 0
            for one in packed:
                alone = samples.logits(model, samples.batch([[one]])[0])
                assert samples.apart(together[row, begin : begin + one.length], alone[0]) < samples.CLOSE
                begin += one.length


@pytest.mark.parametrize("family", samples.PICTURES)
def test_rules_about_pictures_change_what_they_say_and_nothing_before(family):
    model = samples.build(family)
    one = samples.sample(model, family)
    inputs, layout = samples.batch([[one]])
    if family == "paligemma":  # its prefix sees everything; as a suffix it is causal
        inputs["token_type_ids"] = torch.ones_like(inputs["input_ids"])
    plain = samples.logits(model, inputs)
    begin = int(layout.visual[0].nonzero()[0])
    with applied(model, visual_isolated(), layout):
        isolated = samples.logits(model, inputs)
    assert (isolated - plain)[:, begin + 1 :].abs().max() > 1e-2
    if family != "gemma3":  # its first visual token sees the others
        assert torch.equal(isolated[:, : begin + 1], plain[:, : begin + 1])
    with applied(model, bidirectional_items(), layout):
        both_ways = samples.logits(model, inputs)
    assert torch.equal(both_ways[:, :begin], plain[:, :begin])
    if family == "gemma3":
        assert torch.equal(both_ways, plain), "its pictures see themselves in both directions anyway"
    else:
        assert (both_ways - plain)[:, begin:].abs().max() > 1e-2

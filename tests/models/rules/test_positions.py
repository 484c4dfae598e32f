"""Where tokens are: counted alone, in every segment, on one axis or three."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from models.rules import samples
from vitrail.models.layout import Modality
from vitrail.models.rules import applied, causal, given_positions, same_segment
from vitrail.models.rules.positions import segment_positions, three_axes


@pytest.mark.parametrize("family", samples.THREE_AXES)
def test_three_axes_are_those_of_qwen(family):
    model = samples.build(family)
    a, b = samples.sample(model, family), samples.sample(model, family, 1, words=2)
    rows = []
    for one in (a, b):
        inputs, _ = samples.batch([[one]])
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
        rows.append(model.model.get_rope_index(**{name: inputs[name] for name in names})[0][:, 0])
    for left in (0, 2):
        _, layout = samples.batch([[a, b], [a, b]])
        layout = dataclasses.replace(
            layout,
            **{
                field.name: torch.nn.functional.pad(getattr(layout, field.name), (left, 0), value=-1)
                for field in dataclasses.fields(layout)
                if field.name not in ("weight", "droppable")
            },
            weight=torch.zeros(2, layout.shape[1] + left),
            droppable=torch.zeros(2, layout.shape[1] + left, dtype=torch.bool),
        )
        found = three_axes(layout)
        assert torch.equal(found[:, 1, left:], torch.cat(rows, dim=1))


def test_one_axis_counts_what_is_there():
    model = samples.build("llama")
    a, b = samples.sample(model, "llama"), samples.sample(model, "llama", 1, words=2)
    for side in ("left", "right"):
        _, layout = samples.batch([[a, b], [b]], side)
        found = segment_positions.give(layout, 1)
        assert found[0].tolist() == [*range(a.length), *range(b.length)]
        assert found[1][layout.present[1]].tolist() == list(range(b.length))


def test_videos_on_three_axes_are_refused_with_a_remedy():
    model = samples.build("qwen2_vl")
    _, layout = samples.batch([[samples.sample(model, "qwen2_vl")]])
    video = dataclasses.replace(
        layout, modality=torch.where(layout.visual, int(Modality.VIDEO), layout.modality)
    )
    with pytest.raises(ValueError, match="given_positions"):
        three_axes(video)


@pytest.mark.parametrize("family", ["llama", "qwen2_vl", "paligemma", "ours"])
def test_given_positions_hold_in_prompt_and_answer(family):
    """Positions with a gap: the prompt's, and those of the answer that goes on behind them."""
    model = samples.build(family)
    inputs, layout = samples.batch([[samples.sample(model, family)]])
    plain = segment_positions.give(layout, 3 if family == "qwen2_vl" else 1)
    moved = plain + (torch.arange(layout.shape[1]) >= 5) * 7
    with applied(model, given_positions(moved), layout):
        made = samples.generate(model, inputs)
        answer = made.sequences[:, layout.shape[1] :]
        whole = samples.continued(inputs, answer, family)
        again = samples.logits(model, whole, use_cache=False)[:, layout.shape[1] - 1 : -1]
    assert samples.apart(torch.stack(made.logits, 1), again) < samples.CLOSE
    origin = int(family == "paligemma")
    follow = moved.amax((0, 2) if moved.ndim == 3 else 1).view(-1, 1) + 1 + torch.arange(answer.shape[1])
    follow = follow.expand(3, -1, -1) if moved.ndim == 3 else follow
    direct = samples.logits(model, whole, position_ids=torch.cat([moved, follow], -1) + origin)
    assert samples.apart(again, direct[:, layout.shape[1] - 1 : -1]) < samples.CLOSE
    assert samples.apart(again, samples.logits(model, whole)[:, layout.shape[1] - 1 : -1]) > 1e-3


def test_two_rules_with_different_positions_say_which():
    model = samples.build("llama")
    a = samples.sample(model, "llama")
    inputs, layout = samples.batch([[a, a]])
    other = given_positions(torch.arange(layout.shape[1])[None])
    with (
        pytest.raises(ValueError, match="segment positions and given_positions place tokens differently"),
        applied(model, same_segment() & other, layout),
    ):
        model(**inputs)
    agreeing = given_positions(segment_positions.give(layout, 1))
    with applied(model, same_segment() & agreeing, layout):
        samples.logits(model, inputs)


def test_positions_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"give \(batch, tokens\) or \(3"):
        given_positions(torch.zeros(4, 1, 3))
    model = samples.build("llama")
    inputs, layout = samples.batch([[samples.sample(model, "llama")]])
    for wrong, why in (
        (torch.zeros(1, 3).long(), "1 rows of 3 tokens"),
        (torch.zeros(3, 1, layout.shape[1]).long(), "three axes, but this model's positions have one"),
    ):
        with pytest.raises(ValueError, match=why), applied(model, causal() & given_positions(wrong), layout):
            model(**inputs)


def test_positions_in_the_call_that_the_rule_would_override_are_refused():
    model = samples.build("llama")
    a = samples.sample(model, "llama")
    inputs, layout = samples.batch([[a, a]], "left")
    wrong = torch.arange(layout.shape[1])[None] * 2
    with applied(model, same_segment(), layout):
        with pytest.raises(ValueError, match="sets positions, and the call gives other position_ids"):
            model(**inputs, position_ids=wrong)
        right = segment_positions.give(layout, 1)
        assert torch.equal(samples.logits(model, inputs, position_ids=right), samples.logits(model, inputs))

"""Dropping tokens between layers equals keeping them and hiding them, layer by layer."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import pytest
import torch

from models.rules import samples
from vitrail.models.logits import logits_at, shifted
from vitrail.models.rules import applied, drop_at, keep_attended, keep_given, same_segment, visual_isolated
from vitrail.models.rules.dropping import _indices

DROPPING = [one for one in samples.FAMILIES if one != "gemma3"]


def rows(family, model, side="left", seeds=(0, 1)):
    return samples.batch([[samples.sample(model, family, seed, words=4 + seed)] for seed in seeds], side)


def some(layout, share=0.5):
    """A choice with unequal counts a row; words stay, but text-only families may lose some too."""
    generator = torch.Generator().manual_seed(3)
    keep = torch.rand(layout.shape, generator=generator) > share
    keep[0] |= torch.rand(layout.shape[1], generator=generator) > 0.5
    return keep | ~layout.droppable


def droppable(family, layout):
    """Of text-only families words in the middle may leave."""
    if family not in samples.TEXT_ONLY:
        return layout
    middle = layout.present.clone()
    middle[:, :1], middle[:, -2:] = False, False
    return dataclasses.replace(layout, droppable=middle)


@contextmanager
def hidden_by_hand(model, keep, layer):
    """The slow reference: every token stays, dropped ones are masked as keys from ``layer`` on (eager attention)."""

    def hook(module, args, kwargs):
        mask = kwargs["attention_mask"]
        wide = torch.nn.functional.pad(keep, (0, mask.shape[-1] - keep.shape[1]), value=True)
        kwargs["attention_mask"] = mask.masked_fill(~wide[:, None, None], torch.finfo(mask.dtype).min)
        return args, kwargs

    handles = [
        one.register_forward_pre_hook(hook, with_kwargs=True) for one in model.get_decoder().layers[layer:]
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", DROPPING)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_forward_equals_the_slow_reference(family, attention, side):
    model, slow = samples.build(family, attention), samples.build(family, "eager")
    inputs, layout = rows(family, model, side)
    layout = droppable(family, layout)
    keep = some(layout)
    assert not keep[layout.present].all()
    for layer in (1, 2):
        for cached in (False, True):
            with applied(model, keep_given(layer, keep), layout) as call:
                found = samples.logits(model, inputs, use_cache=cached)
            with hidden_by_hand(slow, keep, layer):
                wanted = samples.logits(slow, inputs, use_cache=cached)
            there = keep & layout.present
            assert torch.equal(call.kept, there)
            assert samples.apart(found[there], wanted[there]) < samples.CLOSE
            assert samples.apart(found[there], samples.logits(slow, inputs)[there]) > 1e-3, "it must matter"


@pytest.mark.parametrize("family", DROPPING)
def test_generating_equals_the_slow_reference(family):
    model, slow = samples.build(family), samples.build(family, "eager")
    inputs, layout = rows(family, model)
    layout = droppable(family, layout)
    keep = some(layout)
    for settings in ({}, {"num_beams": 2}, {"use_cache": False}):
        with applied(model, keep_given(2, keep), layout):
            made = samples.generate(model, inputs, **settings)
        expanded = keep.repeat_interleave(settings.get("num_beams", 1), dim=0)
        with hidden_by_hand(slow, expanded, 2):
            wanted = samples.generate(slow, inputs, **settings)
        assert torch.equal(made.sequences, wanted.sequences)
        assert samples.apart(torch.stack(made.logits, 1), torch.stack(wanted.logits, 1)) < samples.CLOSE
        if settings == {}:
            held = [one.keys.shape[-2] for one in made.past_key_values.layers]
            most, total = int((keep & layout.present).sum(-1).max()), layout.shape[1] + 4
            assert held == [total, total, most + 4]


def test_behind_the_last_window_gemma_can_drop_too():
    model, slow = samples.build("gemma3"), samples.build("gemma3", "eager")
    inputs, layout = rows("gemma3", model)
    keep = some(layout)
    with applied(model, keep_given(2, keep), layout):
        made = samples.generate(model, inputs)
    with hidden_by_hand(slow, keep, 2):
        wanted = samples.generate(slow, inputs)
    assert torch.equal(made.sequences, wanted.sequences)
    assert samples.apart(torch.stack(made.logits, 1), torch.stack(wanted.logits, 1)) < samples.CLOSE


@pytest.mark.parametrize("family", ["llama", *samples.TRIO, "ours"])
def test_two_drops_and_a_mask_between_them(family):
    model, slow = samples.build(family), samples.build(family, "eager")
    inputs, layout = rows(family, model)
    layout = droppable(family, layout)
    first, second = some(layout, 0.3), some(layout, 0.6)
    rule = keep_given(1, first) & keep_given(2, second)
    with applied(model, rule, layout) as call:
        made = samples.generate(model, inputs)
    assert torch.equal(call.kept, first & second & layout.present)
    with hidden_by_hand(slow, first, 1), hidden_by_hand(slow, second, 2):
        wanted = samples.generate(slow, inputs)
    assert torch.equal(made.sequences, wanted.sequences)
    mask = visual_isolated().on([2]) & same_segment()
    with applied(model, rule & mask, layout):
        made = samples.generate(model, inputs)
    with applied(slow, mask, layout), hidden_by_hand(slow, first, 1), hidden_by_hand(slow, second, 2):
        wanted = samples.generate(slow, inputs)
    assert samples.apart(torch.stack(made.logits, 1), torch.stack(wanted.logits, 1)) < samples.CLOSE


@pytest.mark.parametrize("family", ["llama", *samples.TRIO, "ours"])
def test_loss_and_gradients_are_those_of_the_slow_reference(family):
    """With ``labels=``, and with logits only where labels are: places keep their meaning."""
    found = {}
    for way in ("rule", "labelled", "slow"):
        model = samples.build(family, "eager" if way == "slow" else "sdpa").train()
        inputs, layout = rows(family, model, "right")
        layout = droppable(family, layout)
        keep = some(layout)
        labels = torch.where(layout.present & ~layout.visual & keep, inputs["input_ids"], -100)
        predicting = torch.nn.functional.pad(~keep[:, :-1], (1, 0))
        labels = labels.masked_fill(predicting, -100)
        samples.forget(model)
        hold = (
            hidden_by_hand(model, keep, 1) if way == "slow" else applied(model, keep_given(1, keep), layout)
        )
        with hold:
            if way == "labelled":
                wanted, targets = shifted(labels)
                logits = logits_at(model, wanted, **inputs, use_cache=False).logits
                loss = torch.nn.functional.cross_entropy(logits.float(), targets)
            else:
                loss = model(**inputs, labels=labels, use_cache=False).loss
            loss.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        found[way] = (float(loss.detach()), float(norm))
    for way in ("rule", "labelled"):
        assert found[way] == pytest.approx(found["slow"], rel=1e-4)


@pytest.mark.parametrize("family", [*samples.TRIO, "internvl", "paligemma", "ours"])
def test_fastv_keeps_what_the_last_token_attends_to(family):
    eager = samples.build(family, "eager")
    inputs, layout = rows(family, eager)
    samples.forget(eager)
    with torch.no_grad():
        attention = eager(**inputs, output_attentions=True).attentions[1][:, :, -1].mean(1)
    wanted = torch.zeros_like(layout.droppable)
    for row in range(2):
        visual = layout.droppable[row].nonzero()[:, 0]
        best = attention[row, visual].argsort(descending=True)[: -(-len(visual) // 2)]
        wanted[row, visual[best]] = True
    wanted |= layout.present & ~layout.droppable
    model = samples.build(family)
    with applied(model, keep_attended(2, 0.5), layout) as call:
        samples.logits(model, inputs)
    assert torch.equal(call.kept, wanted)
    one, alone = samples.batch([[samples.sample(model, family, 1, words=5)]])
    with applied(model, keep_attended(2, 0.5), alone) as single:
        samples.logits(model, one)
    assert torch.equal(single.kept[0], wanted[1][layout.present[1]]), "the batch changes no choice"


@pytest.mark.parametrize("settings", [{"ratio": 0}, {"ratio": 1.5}, {"ratio": 0.5, "scores_of": 3}])
def test_impossible_shares_and_layers_are_refused(settings):
    with pytest.raises(ValueError, match="keep_attended"):
        keep_attended(2, **settings)


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        (lambda seen: seen.layout.droppable, "would drop token 0 of row 0, which layout.droppable does not"),
        (lambda seen: seen.alive[:, :2], "must return bool"),
        (lambda seen: seen.alive.float(), "must return bool"),
        (lambda seen: None, "got a NoneType"),
    ],
)
def test_wrong_choices_are_refused(keep, why):
    model = samples.build("llava")
    inputs, layout = rows("llava", model, "right")
    with applied(model, drop_at(1, keep), layout), pytest.raises(ValueError, match=why):
        model(**inputs)


def test_a_choice_sees_states_and_scores_in_their_places():
    model = samples.build("llava")
    inputs, layout = rows("llava", model)
    first, seen = some(layout), []

    def choose(one):
        seen.append(one)
        return torch.ones_like(one.alive)

    with applied(model, keep_given(1, first) & drop_at(2, choose, scores_of=(0, 1)), layout):
        samples.logits(model, inputs)
    (one,) = seen
    there = first & layout.present
    assert torch.equal(one.alive, there)
    assert (one.hidden[~there] == 0).all() and (one.hidden[there].abs().sum(-1) > 0).all()
    assert torch.allclose(one.scores[0].sum(-1), torch.ones(2, 4), atol=1e-5)
    assert torch.allclose(one.scores[1].sum(-1), torch.ones(2, 4), atol=1e-5)
    assert (one.scores[1].transpose(1, 2)[~there] == 0).all()
    assert (one.scores[0].transpose(1, 2)[layout.present & ~there] > 0).any()


def test_a_prompt_in_pieces_is_refused():
    model = samples.build("llama")
    inputs, layout = rows("llama", model)
    layout = droppable("llama", layout)
    with (
        applied(model, keep_given(1, some(layout)), layout),
        pytest.raises(ValueError, match=r"in one forward \(no prefill_chunk_size"),
    ):
        samples.generate(model, inputs, prefill_chunk_size=4)


def test_indices_are_sorted_with_the_empty_ones_in_front():
    keep = torch.tensor([[True, False, True, True], [False, True, False, False]])
    assert _indices(keep).tolist() == [[0, 2, 3], [-1, -1, 1]]

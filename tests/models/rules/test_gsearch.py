"""Visual tokens leave by a schedule: nested, as many as said, and as if they had been masked."""

from __future__ import annotations

import math

import pytest
import torch

from models.rules import samples
from models.rules.test_dropping import hidden_by_hand, rows
from vitrail.analysis.ranking_similarity import asking_rows, visual_importance
from vitrail.models.capture import attention_rows
from vitrail.models.rules import applied
from vitrail.models.rules.gsearch import keep_scheduled

FAMILIES = [one for one in samples.PICTURES if one not in ("gemma3", "qwen3_vl")] + ["ours"]


def importance(model, inputs, layout, layer, masked=()):
    """The slow way: full weights of a model in which what left is masked, its words' rows averaged."""
    places = torch.arange(layout.shape[1]).expand(layout.shape)
    with attention_rows(model, [layer], places) as found:
        if masked:
            with hidden_by_hand(model, *masked):
                samples.logits(model, inputs)
        else:
            samples.logits(model, inputs)
    return visual_importance(found[layer], layout.visual, asking_rows(layout))


def kept_by_hand(values, layout, rate, alive):
    keep = layout.present & ~layout.visual
    for row in range(layout.shape[0]):
        count = math.ceil(rate * int(layout.visual[row].sum()) - 1e-9)
        left = (layout.visual & alive)[row].nonzero()[:, 0].tolist()
        best = sorted(left, key=lambda token: (-float(values[row, token]), token))[:count]
        keep[row, best] = True
    return keep


@pytest.mark.parametrize("family", FAMILIES)
def test_a_schedule_equals_the_slow_reference(family):
    model, slow = samples.build(family), samples.build(family, "eager")
    inputs, layout = rows(family, model)
    first = kept_by_hand(importance(slow, inputs, layout, 0), layout, 0.6, layout.present)
    rule = keep_scheduled((1, 0.6, 0.3))
    with applied(model, rule, layout) as call:
        found = samples.generate(model, inputs)
    assert torch.equal(call.chosen[1] & layout.present, first)
    second = call.chosen[2] & layout.present
    assert not (second & ~first).any(), "kept sets are nested"
    for row in range(layout.shape[0]):
        total = int(layout.visual[row].sum())
        assert int((second & layout.visual)[row].sum()) == math.ceil(0.3 * total - 1e-9)
    assert (second | layout.visual)[layout.present].all(), "words stay"
    with hidden_by_hand(slow, first, 1), hidden_by_hand(slow, second, 2):
        wanted = samples.generate(slow, inputs)
    assert torch.equal(found.sequences, wanted.sequences)
    assert samples.apart(torch.stack(found.logits, 1), torch.stack(wanted.logits, 1)) < samples.CLOSE
    held = [one.keys.shape[-2] for one in found.past_key_values.layers]
    steps = found.sequences.shape[1] - layout.shape[1] - 1
    more = held[0] - layout.shape[1]
    assert more >= steps and held[1:] == [int(keep.sum(-1).max()) + more for keep in (first, second)]


@pytest.mark.parametrize("family", [*samples.TRIO, "ours"])
def test_all_ones_are_the_model_itself(family):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    assert keep_scheduled((1, 1, 1)) is None
    with applied(model, keep_scheduled((1, 1.0, 1)), layout):
        assert torch.equal(samples.logits(model, inputs), samples.logits(samples.build(family), inputs))


@pytest.mark.parametrize("family", samples.TRIO)
def test_nothing_visual_may_be_left(family):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    with applied(model, keep_scheduled((1, 0.5, 0)), layout) as call:
        samples.generate(model, inputs)
    assert not (call.chosen[2] & layout.visual).any()


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "paligemma", "ours"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_slice_equals_rows_of_full_attention(family, attention):
    """Importance as the rule has it, against transformers' own eager weights."""
    model, slow = samples.build(family, attention), samples.build(family, "eager")
    inputs, layout = rows(family, model)
    taken = {}
    rule = keep_scheduled((1, 1, 0.5))
    keep = rule.drops[0].keep

    def look(seen):
        taken["scores"] = seen.text_scores[1].mean(1)
        return keep(seen)

    rule = type(rule)("looked", drops=(rule.drops[0]._replace(keep=look),))
    with applied(model, rule, layout):
        samples.logits(model, inputs)
    given = {name: value for name, value in inputs.items() if name != "layout"}
    with torch.no_grad():
        weights = slow(**given, output_attentions=True, use_cache=False).attentions[1].mean(1)
    asks = asking_rows(layout)
    wanted = (weights * asks[..., None]).sum(1) / asks.sum(-1, keepdim=True)
    assert torch.allclose(taken["scores"][layout.visual], wanted[layout.visual], atol=1e-6)


def test_other_rankings_keep_as_many_but_others():
    model = samples.build("llava")
    inputs, layout = rows("llava", model)
    kept = {}
    for ranking in ("text", "last", "first_layer", "random"):
        with applied(model, keep_scheduled((1, 1, 0.4), ranking), layout) as call:
            samples.logits(model, inputs)
        kept[ranking] = call.kept & layout.visual
    assert len({int(one.sum()) for one in kept.values()}) == 1
    assert len({tuple(one.reshape(-1).tolist()) for one in kept.values()}) == 4
    single = [keep_scheduled((1, 1, 0.4), "random")]
    inputs, layout = rows("llava", model, seeds=(1,))
    with applied(model, single[0], layout) as call:
        samples.logits(model, inputs)
    places = [one[one_layout].tolist() for one, one_layout in ((call.kept[0], layout.visual[0]),)]
    assert places[0] == kept["random"][1][rows("llava", model)[1].visual[1]].tolist()


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ((), "rates is empty"),
        ((1, 1.2, 1), r"rates\[1\] is 1.2; give shares"),
        ((1, -0.1), "give shares"),
        ((0.9, 0.5), "keeps all: 1"),
        ((1, 0.5, 0.6), "rates may not rise"),
    ],
)
def test_what_is_no_schedule_is_refused(rates, words):
    with pytest.raises(ValueError, match=words):
        keep_scheduled(rates)


def test_a_picture_at_the_end_has_nothing_to_rank_by():
    model = samples.build("llava")
    inputs, layout = samples.batch([[samples.sample(model, "llava", 0, words=0)]], "left")
    last = int(layout.visual[0].nonzero().max())
    inputs = {
        name: value[:, : last + 1] if value.ndim == 2 and value.shape[1] == layout.shape[1] else value
        for name, value in inputs.items()
        if name != "layout"
    }
    layout = layout.take(torch.arange(last + 1)[None])
    with (
        pytest.raises(ValueError, match="row 0 ends with a picture"),
        applied(model, keep_scheduled((1, 0.5, 0.5)), layout),
    ):
        samples.logits(model, inputs)


@pytest.mark.parametrize(
    ("family", "words"), [("gemma3", "sliding window"), ("qwen3_vl", "adds visual features")]
)
def test_families_that_cannot_drop_there_say_why(family, words):
    model = samples.build(family)
    _, layout = rows(family, model)
    rates = (1, 0.5, 0.5) if family == "gemma3" else (1, 0.5, 0.2)
    rule = keep_scheduled(rates)
    if family == "qwen3_vl":
        rule = type(rule)("early", drops=(rule.drops[0]._replace(layer=0, text_scores_of=()),))
    with pytest.raises(ValueError, match=words), applied(model, rule, layout):
        pass

"""Time in the positions and a mask by frames."""

from __future__ import annotations

import warnings

import pytest
import torch

from models.rules import samples
from vitrail.models.layout import Layout, Modality
from vitrail.models.rules import applied, same_segment
from vitrail.models.rules.tc_llava import (
    dual_positions,
    frame_ids,
    tc_llava,
    temporal_positions,
    temporal_rope,
)

ONE_AXIS = ("llava", "smolvlm", "internvl", "paligemma", "gemma3", "ours")


def layout_of(*rows, video=False):
    """Rows of words: ``t`` a word, ``.`` padding, a digit a token of that frame."""
    width = len(rows[0])
    frame = torch.tensor([[int(c) if c.isdigit() else -1 for c in row] for row in rows])
    present = torch.tensor([[c != "." for c in row] for row in rows])
    visual = frame >= 0
    kind = Modality.VIDEO if video else Modality.IMAGE
    modality = torch.where(present, int(Modality.TEXT), int(Modality.PADDING))
    none = torch.full((len(rows), width), -1)
    return Layout(
        segment=present.long() - 1,
        modality=torch.where(visual, int(kind), modality),
        item=torch.where(visual, 0, none) if video else frame,
        frame=frame if video else torch.where(visual, 0, none),
        row=none,
        col=none,
        speaker=torch.zeros_like(none),
        weight=torch.zeros(none.shape),
        droppable=visual,
    )


def three_pictures(model, family="llava", seeds=(0, 1, 2), side="right"):
    """Pictures with words between them, in one record."""
    inputs, layout = samples.batch([[samples.sample(model, family, seed) for seed in seeds]], side)
    item = torch.where(layout.item >= 0, layout.segment, -1)
    return inputs, Layout(**{**vars(layout), "segment": layout.segment * 0, "item": item})


def explicit_dual_rotation(q, k, m, t, gamma, base=10000.0):
    """Rotated by R(m), then by R(γ t); the halves of a head's width are the two sides of each plane."""

    def rotate(x, angle):
        half = x.shape[-1] // 2
        theta = base ** (-torch.arange(half, dtype=torch.float64) * 2 / x.shape[-1])
        cos, sin = (f(angle[..., None].double() * theta) for f in (torch.cos, torch.sin))
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    return tuple(rotate(rotate(x.double(), m), gamma * t.double()) for x in (q, k))


@pytest.mark.parametrize("video", [False, True])
def test_the_cards_example(video):
    layout = layout_of("tt000111tt", video=video)
    assert temporal_positions(layout).tolist() == [[0, 1, 2, 2, 2, 3, 3, 3, 4, 5]]
    assert dual_positions(layout, 1.0).tolist() == [[0, 2, 4, 5, 6, 8, 9, 10, 12, 14]]
    assert dual_positions(layout, 0.5)[0, 1] == 1.5
    assert frame_ids(layout).tolist()[0][:2] == [-1, -1]
    constant = temporal_positions(layout, text_temporal="constant")
    assert constant.tolist() == [[0, 0, 1, 1, 1, 2, 2, 2, 2, 2]]


def test_which_media_are_frames():
    pictures, video = layout_of("tt000111tt"), layout_of("tt000111tt", video=True)
    assert temporal_positions(pictures, frames="video").tolist() == [list(range(10))]
    assert torch.equal(temporal_positions(video, frames="video"), temporal_positions(video))
    assert temporal_positions(layout_of("tttttt")).tolist() == [list(range(6))]  # no video: t = m
    assert temporal_positions(layout_of("000t1")).tolist() == [[0, 0, 0, 1, 2]]
    # Markers between the tiles of one picture stand within it.
    assert temporal_positions(layout_of("t00t00t11t")).tolist() == [[0, 1, 1, 1, 1, 1, 2, 3, 3, 4]]


def test_padding_and_packing_change_nothing():
    alone = dual_positions(layout_of("tt000111tt"), 0.7)[0]
    padded = dual_positions(layout_of("..tt000111tt", "tt000111tt.."), 0.7)
    assert torch.equal(padded[0, 2:], alone) and torch.equal(padded[1, :-2], alone)
    packed = layout_of("tt000111tttt222333tt")
    segment = torch.arange(20)[None] // 10
    packed = Layout(**{**vars(packed), "segment": segment})
    assert torch.equal(dual_positions(packed, 0.7)[0], torch.cat([alone, alone]))


def test_one_rotation_by_p_equals_two():
    generator = torch.Generator().manual_seed(0)
    layout = layout_of("tt00001111tt2222tt")
    q, k = torch.randn(2, 3, layout.shape[1], 16, generator=generator)
    m = torch.arange(layout.shape[1])
    for gamma in (0.0, 0.37, 1.0, 2.0):
        t = temporal_positions(layout)[0]
        wanted = explicit_dual_rotation(q, k, m, t, gamma)
        p = dual_positions(layout, gamma)[0]
        found = explicit_dual_rotation(q, k, p, t, 0.0)
        for a, b in zip(found, wanted, strict=True):
            assert float((a - b).abs().max()) < 1e-5
        scores = wanted[0] @ wanted[1].transpose(1, 2)
        shifted = explicit_dual_rotation(q, k, m + 5, t + 3, gamma)
        assert torch.allclose(
            shifted[0] @ shifted[1].transpose(1, 2), scores, atol=1e-9
        )  # differences alone count


def test_the_models_rotary_module_rotates_by_p():
    model = samples.build("llava")
    inputs, layout = three_pictures(model)
    found = []
    rotary = model.get_decoder().rotary_emb
    handle = rotary.register_forward_hook(lambda _, args, kw, out: found.append(out), with_kwargs=True)
    with applied(model, tc_llava(0.37), layout):
        samples.logits(model, inputs)
    handle.remove()
    q = torch.randn(1, 4, layout.shape[1], 8, generator=torch.Generator().manual_seed(0))
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    turned = apply_rotary_pos_emb(q, q, *found[0])[0]
    m, t = torch.arange(layout.shape[1]), temporal_positions(layout)[0]
    wanted = explicit_dual_rotation(q[0], q[0], m, t, 0.37)[0]
    assert float((turned[0] - wanted).abs().max()) < 1e-5


@pytest.mark.parametrize("family", ONE_AXIS)
def test_gamma_zero_without_mask_is_the_model(family):
    model = samples.build(family)
    inputs, layout = three_pictures(model, family)
    plain = samples.logits(model, inputs)
    for text_temporal in ("running", "constant"):
        with applied(model, tc_llava(0.0, mask="none", text_temporal=text_temporal), layout):
            assert samples.apart(samples.logits(model, inputs), plain) < 1e-6
    with applied(model, tc_llava(1.0, mask="none"), layout):
        assert samples.apart(samples.logits(model, inputs), plain) > 1e-3


def seen_under(layout, **settings):
    """Who sees whom under the mask of the rule: bool (queries, keys)."""
    model = samples.build("llama")
    found = {}
    attention = model.get_decoder().layers[0].self_attn
    handle = attention.register_forward_pre_hook(
        lambda _, args, kw: found.update(mask=kw["attention_mask"]), with_kwargs=True
    )
    rule = tc_llava(rope=False, **settings)
    with applied(model, rule, layout):
        samples.logits(
            model,
            {"input_ids": torch.full(layout.shape, 5), "attention_mask": layout.present.long()},
        )
    handle.remove()
    return found["mask"][0, 0]


def test_the_mask_by_rows_and_columns():
    mask = seen_under(layout_of("tt000111tt2"))
    for q in range(11):
        for k in range(11):
            same = (2 <= q < 5 and 2 <= k < 5) or (5 <= q < 8 and 5 <= k < 8)
            assert bool(mask[q, k]) == (k <= q or same), (q, k)
    assert torch.equal(seen_under(layout_of("t0123t")), torch.ones(6, 6).tril().bool())  # one token a frame
    everything = seen_under(layout_of("tt000t11t"), mask="visual")
    assert bool(everything[2, 7]) and not bool(everything[1, 2]) and not bool(everything[2, 5])
    pictures = seen_under(layout_of("tt000111tt"), frames="video")
    assert torch.equal(pictures, torch.ones(10, 10).tril().bool())


@pytest.mark.parametrize("family", ["llava", "smolvlm", "ours"])
def test_frames_are_blocks(family):
    model = samples.build(family)
    inputs, layout = three_pictures(model, family)
    other, _ = three_pictures(model, family, seeds=(0, 9, 2))
    other = {**other, "input_ids": inputs["input_ids"]}
    with applied(model, tc_llava(1.0), layout):
        before, after = samples.logits(model, inputs)[0], samples.logits(model, other)[0]
    numbers = frame_ids(layout)[0]
    begin = int((numbers == numbers.unique()[2]).nonzero()[0])  # unique()[0] is −1, text
    assert torch.equal(before[:begin], after[:begin])
    assert not torch.equal(before[begin], after[begin])


def test_a_token_late_in_a_frame_reaches_its_first():
    model = samples.build("llava")
    inputs, layout = three_pictures(model)
    where = frame_ids(layout)[0]
    second = (where == where.unique()[2]).nonzero()[:, 0]
    with torch.no_grad():
        embeds = model.get_input_embeddings()(inputs["input_ids"])
        changed = embeds.clone()
        changed[0, second[-1]] += 1
        found = []
        for one in (embeds, changed):
            with applied(model, tc_llava(1.0), layout):
                found.append(model(inputs_embeds=one, attention_mask=inputs["attention_mask"]).logits[0])
    assert torch.equal(found[0][: second[0]], found[1][: second[0]])
    assert not torch.equal(found[0][second[0]], found[1][second[0]])


def test_the_order_of_frames_is_heard():
    model = samples.build("llava")
    found = []
    for order in ((0, 1, 2), (1, 0, 2)):
        inputs, layout = three_pictures(model)
        inputs["pixel_values"] = inputs["pixel_values"][list(order)]
        with applied(model, tc_llava(1.0), layout):
            found.append(samples.logits(model, inputs)[0, -1])
    assert samples.apart(found[0], found[1]) > 1e-3


def test_tokens_of_a_frame_differ_by_m_alone():
    model = samples.build("llama")
    layout = layout_of("tt0000tt")
    ids = torch.tensor([[1, 7, 20, 21, 22, 23, 9, 8]])
    order = torch.tensor([0, 1, 5, 3, 4, 2, 6, 7])
    embeds = model.get_input_embeddings()(ids).detach()
    inputs = {"attention_mask": torch.ones_like(ids)}
    from vitrail.models.rules import given_positions

    positions = dual_positions(layout, 1.0)
    mask = tc_llava(rope=False)
    with torch.no_grad():
        with applied(model, mask & given_positions(positions), layout):
            wanted = model(inputs_embeds=embeds, **inputs).logits
        with applied(model, mask & given_positions(positions[:, order]), layout):
            found = model(inputs_embeds=embeds[:, order], **inputs).logits
    assert samples.apart(found[:, 6:], wanted[:, 6:]) < samples.CLOSE


@pytest.mark.parametrize("family", ONE_AXIS)
@pytest.mark.parametrize("settings", [{}, {"gamma": 0.37, "text_temporal": "constant"}])
def test_decoding_goes_on_counting(family, settings):
    model = samples.build(family)
    rows = [[samples.sample(model, family, seed, words=4 + seed)] for seed in range(2)]
    inputs, layout = samples.batch(rows, "left")
    rule = tc_llava(settings.get("gamma", 1.0), text_temporal=settings.get("text_temporal", "running"))
    places = []
    rotary = model.get_decoder().rotary_emb
    handle = rotary.register_forward_pre_hook(
        lambda _, args, kw: places.append(kw.get("position_ids", args[1] if len(args) > 1 else None)),
        with_kwargs=True,
    )
    with applied(model, rule, layout):
        found = samples.generate(model, inputs)
        steps = [one for one in places if one.shape[-1] == 1]
        answer = found.sequences[:, inputs["input_ids"].shape[1] :]
        whole = samples.logits(model, samples.continued(inputs, answer, family), use_cache=False)
    handle.remove()
    wanted = whole[:, inputs["input_ids"].shape[1] - 1 : -1]
    assert samples.apart(torch.stack(found.logits, 1), wanted) < samples.CLOSE
    distinct = torch.cat(steps, -1)[:, :: len(steps) // 4][0, :4]
    step = 2.0 if not settings else 1.0
    assert torch.allclose(distinct.diff(), torch.full((3,), step))


@pytest.mark.parametrize("family", ["llava", "ours"])
def test_packed_records_are_what_they_are_alone(family):
    model = samples.build(family)
    packed, layout = samples.batch([[samples.sample(model, family, seed) for seed in range(2)]])
    alone, one = samples.batch([[samples.sample(model, family, 1)]])
    with applied(model, tc_llava(0.5) & same_segment(), layout):
        found = samples.logits(model, packed)
    with applied(model, tc_llava(0.5), one):
        wanted = samples.logits(model, alone)
    assert samples.apart(found[:, -wanted.shape[1] :], wanted) < samples.CLOSE


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="gamma is -1"):
        tc_llava(-1)
    with pytest.raises(ValueError, match="nothing changes"):
        tc_llava(rope=False, mask="none")
    with pytest.raises(ValueError, match="must stand together"):
        frame_ids(layout_of("t00110t"))
    with pytest.raises(ValueError, match="must stand together"):
        frame_ids(layout_of("t11t00t", video=True))
    unknown = layout_of("t00t")
    unknown = Layout(**{**vars(unknown), "item": torch.full((1, 4), -1)})
    with pytest.raises(ValueError, match="must know which picture"):
        frame_ids(unknown)
    model = samples.build("qwen2_vl")
    inputs, layout = samples.batch([[samples.sample(model, "qwen2_vl")]])
    with (
        pytest.raises(ValueError, match="counts time, height and width apart"),
        applied(model, tc_llava(), layout),
    ):
        samples.logits(model, inputs)


def test_beyond_what_was_trained_it_warns():
    layout = layout_of("tt000111tt")
    with pytest.warns(
        UserWarning, match="places a token at 14, but the model was trained for positions below 14"
    ):
        temporal_rope(1.0, trained=14).positions[0].give(layout, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        temporal_rope(1.0, trained=15).positions[0].give(layout, 1)

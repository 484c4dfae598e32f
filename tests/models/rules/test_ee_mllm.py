"""Composite attention: text alone asks. The fast path equals the mask path; visual tokens never see each other."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as T
from torch.utils.flop_counter import FlopCounterMode

from models.rules import samples
from vitrail.models.layout import Modality
from vitrail.models.rules import applied, same_segment, visual_isolated
from vitrail.models.rules.ee_mllm import composite_attention, flops_per_layer, visual_tokens

ALIGNERS = ("vo+ffn", "ffn", "vo", "none")
WANTED = ("llava", "qwen2_5_vl", "smolvlm", "gemma3", "ours")


def rows(model, family, side="left"):
    return samples.batch(
        [[samples.sample(model, family, seed, words=4 + 2 * seed)] for seed in range(2)], side
    )


def two_pictures(model, family="llava"):
    """A picture, words, and a second picture behind them, in one segment."""
    inputs, layout = samples.batch([[samples.sample(model, family, seed) for seed in range(2)]])
    second = layout.segment == 1
    item = torch.where(second & (layout.item >= 0), 1, layout.item)
    return inputs, type(layout)(**{**vars(layout), "segment": layout.segment * 0, "item": item})


def states(model, inputs, rule, layout):
    """The state of every token in front of each layer, and behind the last."""
    found, handles = [], []
    for layer in model.get_decoder().layers:
        handles.append(layer.register_forward_hook(lambda _, args, out: found.append(out.detach())))
    first = model.get_decoder().layers[0]
    handles.append(
        first.register_forward_pre_hook(lambda _, args, kw: found.append(args[0].detach()), with_kwargs=True)
    )
    with applied(model, rule, layout):
        samples.logits(model, inputs)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("family", samples.PICTURES + ("ours",))
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_fast_path_equals_the_mask_path(family, attention):
    model = samples.build(family, attention)
    inputs, layout = rows(model, family)
    plain = samples.logits(model, inputs)
    with applied(model, composite_attention(path="mask"), layout):
        wanted = samples.logits(model, inputs)
    with applied(model, composite_attention(), layout):
        found = samples.logits(model, inputs)
    there = layout.present
    assert samples.apart(found[there], wanted[there]) < samples.CLOSE
    assert samples.apart(found[there], plain[there]) > 0.01


def test_only_text_rows_are_computed():
    model = samples.build("llava")
    inputs, layout = rows(model, "llava", "right")
    text = int((~layout.visual).sum())  # padding asks, too: it costs little and is nobody's answer
    seen = {}
    layer = model.get_decoder().layers[1]
    with applied(model, composite_attention(), layout):
        layer.self_attn.q_proj.register_forward_hook(lambda _, args, out: seen.update(q=args[0].shape[1]))
        samples.logits(model, inputs)
    assert seen["q"] == text < layout.visual.numel()


@pytest.mark.parametrize("side", ["left", "right"])
def test_any_placement_of_pictures(side):
    model = samples.build("llava")
    inputs, layout = two_pictures(model)
    with applied(model, composite_attention(path="mask"), layout):
        wanted = samples.logits(model, inputs)
    with applied(model, composite_attention(), layout):
        assert samples.apart(samples.logits(model, inputs), wanted) < samples.CLOSE


def test_gradients_are_those_of_the_mask_path():
    found = []
    for path in ("mask", "fast"):
        for checkpointing in (False, True):
            model = samples.build("qwen2_5_vl").train()
            if checkpointing:
                model.gradient_checkpointing_enable()
            inputs, layout = rows(model, "qwen2_5_vl", "right")
            labels = torch.where(layout.present & ~layout.visual, inputs["input_ids"], -100)
            with applied(model, composite_attention(path=path), layout):
                loss = model(**inputs, labels=labels, use_cache=False).loss
            loss.backward()  # behind the block: checkpointing runs the layers again here
            weights = [p for n, p in model.named_parameters() if p.grad is not None]
            found.append(torch.cat([p.grad.flatten() for p in weights]))
    for one in found[1:]:
        assert samples.apart(one, found[0]) < samples.CLOSE


@pytest.mark.parametrize("aligner", ALIGNERS)
@pytest.mark.parametrize("family", ["llama", "llava"])
def test_without_visual_tokens_it_is_the_model(aligner, family):
    model = samples.build(family)
    one = samples.sample(model, family)
    if family == "llava":
        one.ids = [token for token in one.ids if token != samples.image_token(model)]
        one.columns = {name: values[: len(one.ids)] for name, values in one.columns.items()}
        one.columns["modality"] = [int(Modality.TEXT)] * len(one.ids)
        one.pixels = {}
    inputs, layout = samples.batch([[one]])
    plain = samples.logits(model, inputs)
    with applied(model, composite_attention(aligner), layout):
        assert torch.equal(samples.logits(model, inputs), plain)


def test_a_single_visual_token_in_front_is_an_ordinary_first_token():
    model = samples.build("llama")
    inputs, layout = samples.batch([[samples.sample(model, "llama")]])
    layout.modality[0, 0] = Modality.IMAGE
    plain = samples.logits(model, inputs)
    with applied(model, composite_attention(), layout):
        assert samples.apart(samples.logits(model, inputs), plain) < samples.CLOSE


def reference_layer(layer, hidden, visual, cos_sin, mask, aligner):
    """The card's formulas, written out for one Llama layer and one row."""
    attn, mlp = layer.self_attn, layer.mlp
    normed = layer.input_layernorm(hidden)
    text = ~visual
    groups = attn.num_key_value_groups
    heads = attn.config.num_attention_heads

    def split(values):
        return values.view(len(values), -1, attn.head_dim).transpose(0, 1)

    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    q, k = split(attn.q_proj(normed)), split(attn.k_proj(normed))
    v = split(attn.v_proj(normed)).repeat_interleave(groups, 0)
    q, k = (one[0] for one in apply_rotary_pos_emb(q[None], k[None], *cos_sin))
    k = k.repeat_interleave(groups, 0)
    scores = q[:, text] @ k.transpose(1, 2) * attn.scaling
    scores = scores.masked_fill(~mask[text], -torch.inf)
    mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(int(text.sum()), heads * attn.head_dim)
    after = hidden.clone()
    after[text] = hidden[text] + attn.o_proj(mixed)
    if "vo" in aligner:
        own = v.transpose(0, 1)[visual].reshape(int(visual.sum()), -1)
        after[visual] = hidden[visual] + attn.o_proj(own)
    forward = mlp(layer.post_attention_layernorm(after))
    return after + (forward if "ffn" in aligner else forward * text[:, None])


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_every_aligner_equals_its_formulas(aligner):
    model = samples.build("llava")
    inputs, layout = two_pictures(model)
    found = states(model, inputs, composite_attention(aligner), layout)
    visual = layout.visual[0]
    decoder, hidden = model.get_decoder(), found[0][0]
    place = torch.arange(len(hidden))
    cos_sin = decoder.rotary_emb(hidden[None], place[None])
    with torch.no_grad():
        for layer, state in zip(decoder.layers, found[1:], strict=True):
            hidden = reference_layer(layer, hidden, visual, cos_sin, place[None] <= place[:, None], aligner)
            assert samples.apart(state[0], hidden) < samples.CLOSE


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_nothing_reaches_a_visual_token(aligner):
    model = samples.build("llava")
    one, rule = samples.sample(model, "llava"), composite_attention(aligner)
    inputs, layout = samples.batch([[one]])
    visual = layout.visual[0]
    before = states(model, inputs, rule, layout)
    words = {**inputs, "input_ids": torch.where(layout.visual, inputs["input_ids"], inputs["input_ids"] + 1)}
    after = states(model, words, rule, layout)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[0, visual], b[0, visual])
        assert not torch.equal(a[0, ~visual], b[0, ~visual])
    # One visual token's embedding changes: no other visual token's state does, and later text's does.
    place = int(visual.nonzero()[2])
    with torch.no_grad():
        embeds = before[0].clone()
        embeds[0, place] += 1
    decoder = model.get_decoder()
    found = []
    handles = [one.register_forward_hook(lambda _, a, out: found.append(out)) for one in decoder.layers]
    with torch.no_grad(), applied(model, rule, layout):
        model(inputs_embeds=embeds, attention_mask=inputs["attention_mask"])
    [handle.remove() for handle in handles]
    others = visual.clone()
    others[place] = False
    later = ~visual & (torch.arange(len(visual)) > place)
    for a, b in zip(before[1:], found, strict=True):
        assert torch.equal(a[0, others], b[0, others])
        assert not torch.equal(a[0, later], b[0, later])
    if aligner == "none":
        assert all(torch.equal(state[0, visual], before[0][0, visual]) for state in before)


def test_the_order_of_visual_tokens_with_their_positions_is_nothing():
    model = samples.build("llava")
    inputs, layout = samples.batch([[samples.sample(model, "llava")]])
    embeds = states(model, inputs, composite_attention(), layout)[0]
    place = torch.arange(embeds.shape[1])
    visual = layout.visual[0].nonzero()[:, 0]
    order = place.clone()
    order[visual] = visual.flip(0)
    with torch.no_grad(), applied(model, composite_attention(), layout):
        wanted = model(inputs_embeds=embeds, attention_mask=inputs["attention_mask"]).logits
        found = model(
            inputs_embeds=embeds[:, order],
            attention_mask=inputs["attention_mask"],
            position_ids=place[order][None],
        ).logits
    text = ~layout.visual
    assert samples.apart(found[text], wanted[text]) < samples.CLOSE


@pytest.mark.parametrize("aligner", ALIGNERS)
@pytest.mark.parametrize("family", WANTED)
def test_decoding_with_a_cache_equals_the_whole(family, aligner):
    model = samples.build(family)
    inputs, layout = rows(model, family)
    rule = composite_attention(aligner)
    with applied(model, rule, layout):
        found = samples.generate(model, inputs)
        answer = found.sequences[:, inputs["input_ids"].shape[1] :]
        whole = samples.logits(model, samples.continued(inputs, answer, family), use_cache=False)
        static = {} if family == "gemma3" else {"cache_implementation": "static"}
        beams = samples.generate(model, inputs, num_beams=2)
        still = samples.generate(model, inputs, disable_compile=True, **static)
    wanted = whole[:, inputs["input_ids"].shape[1] - 1 : -1]
    assert samples.apart(torch.stack(found.logits, 1), wanted) < samples.CLOSE
    assert torch.equal(still.sequences, found.sequences)
    assert len(beams.sequences) == 2


def test_some_layers_only():
    model = samples.build("llava")
    inputs, layout = rows(model, "llava")
    with applied(model, composite_attention(path="mask", layers=[1, 2]), layout):
        wanted = samples.logits(model, inputs)
    with applied(model, composite_attention(layers=[1, 2]), layout):
        found = samples.logits(model, inputs)
    with applied(model, composite_attention(), layout):
        all_of_them = samples.logits(model, inputs)
    there = layout.present
    assert samples.apart(found[there], wanted[there]) < samples.CLOSE
    assert samples.apart(all_of_them[there], wanted[there]) > 0.01


def test_visual_tokens_of_the_last_layer_need_nothing():
    model = samples.build("llava")
    inputs, layout = rows(model, "llava")
    with applied(model, composite_attention(), layout):
        wanted = samples.logits(model, inputs)
    with applied(model, composite_attention(layers=[0, 1]) & composite_attention("none", layers=[2]), layout):
        found = samples.logits(model, inputs)
    text = layout.present & ~layout.visual
    assert samples.apart(found[text], wanted[text]) < samples.CLOSE
    assert samples.apart(found[layout.visual], wanted[layout.visual]) > 0.01


def test_packed_samples_and_dropped_tokens():
    from vitrail.models.rules import keep_given

    model = samples.build("llava")
    packed, layout = samples.batch([[samples.sample(model, "llava", seed) for seed in range(2)]])
    alone, one = samples.batch([[samples.sample(model, "llava", 1)]])
    with applied(model, composite_attention() & same_segment(), layout):
        found = samples.logits(model, packed)
    with applied(model, composite_attention(), one):
        wanted = samples.logits(model, alone)
    assert samples.apart(found[:, -wanted.shape[1] :], wanted) < samples.CLOSE
    keep = ~layout.visual | (torch.arange(layout.shape[1]) % 3 == 0)
    outputs = []
    for path in ("mask", "fast"):
        with applied(model, composite_attention(path=path) & keep_given(1, keep), layout):
            outputs.append(samples.logits(model, packed)[~layout.visual])
    assert samples.apart(outputs[1], outputs[0]) < samples.CLOSE


def test_adapters_in_it_are_used_for_what_is_computed():
    from peft import LoraConfig, get_peft_model

    found = {}
    for path in ("mask", "fast"):
        model = samples.build("llava")
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj"]
        torch.manual_seed(0)
        adapted = get_peft_model(
            model,
            LoraConfig(target_modules=[f"language_model.layers.{i}.{p}.{n}" for i in range(3) for n in names
                                       for p in (["mlp"] if n == "gate_proj" else ["self_attn"])],
                       init_lora_weights=False),
        ).eval()  # fmt: skip
        inputs, layout = rows(model, "llava")
        with applied(adapted, composite_attention(path=path), layout):
            found[path] = samples.logits(adapted, inputs)[layout.present]
    assert samples.apart(found["fast"], found["mask"]) < samples.CLOSE


@pytest.mark.parametrize("mode", ["dense", *ALIGNERS])
@pytest.mark.parametrize("groups", [2, 4])
def test_the_counted_work_follows_the_formula(mode, groups):
    torch.manual_seed(0)
    config = T.LlamaConfig(
        vocab_size=32, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=groups, attn_implementation="eager",
    )  # fmt: skip
    model = T.LlamaForCausalLM._from_config(config, attn_implementation="eager").eval()
    text, visual = 7, 40
    layout = words_and_picture(text, visual)
    rule = None if mode == "dense" else composite_attention(mode)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), applied(model, rule, layout), counter:
        model(input_ids=torch.ones(1, text + visual, dtype=torch.long), logits_to_keep=1, use_cache=False)
    head = 2 * config.hidden_size * config.vocab_size
    rotary = (
        2 * config.hidden_size // 4 // 2 * (text + visual)
    )  # positions times frequencies, a product of matrices
    counted = counter.get_total_flops() - head
    wanted = 2 * 2 * flops_per_layer(text, visual, config, mode)
    assert counted - wanted in (0, rotary)


def words_and_picture(text, visual):
    from vitrail.models.layout import Layout

    pictured = torch.arange(text + visual)[None] < visual
    place = torch.where(pictured, 0, -1)
    return Layout(
        segment=torch.zeros_like(place), modality=torch.where(pictured, 1, 0), item=place, frame=place,
        row=place, col=place, speaker=place * 0, weight=torch.zeros(place.shape), droppable=pictured,
    )  # fmt: skip


def test_the_formula_is_the_papers_without_groups():
    config = T.LlamaConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=96)
    d, h, t, v = 64, 96, 10, 100
    assert (
        flops_per_layer(t, v, config, "dense")
        == 4 * (t + v) * d * d + 2 * (t + v) ** 2 * d + 3 * (t + v) * d * h
    )
    composite = 4 * t * d * d + 3 * v * d * d + 2 * t * (t + v) * d + 3 * (t + v) * d * h
    assert flops_per_layer(t, v, config) == composite
    assert flops_per_layer(t, v, config, "ffn") == composite - v * d * d
    # Attention's own part grows with visual tokens, not with their square.
    part = [flops_per_layer(t, n, config) - flops_per_layer(0, n, config) for n in (v, 2 * v)]
    assert part[1] - part[0] == 2 * t * v * d


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="a mask cannot be the aligner 'ffn'"):
        composite_attention("ffn", path="mask")
    with pytest.raises(ValueError, match="aligners are"):
        composite_attention("ov")
    with pytest.raises(ValueError, match=r"silences tokens, which .* lets ask"):
        visual_isolated() | composite_attention()
    with pytest.raises(ValueError, match="both say what silent tokens of the same layer get"):
        composite_attention("ffn") & composite_attention("vo")
    model = samples.build("llava")
    with pytest.raises(ValueError, match="names layer 7, but LlamaModel has the layers 0 to 2"):
        applied(model, composite_attention(layers=[7])).__enter__()
    model = copy.deepcopy(samples.build("llama"))
    for layer in model.model.layers:
        layer.branch = layer.mlp
        del layer.mlp
    with pytest.raises(ValueError, match=r"layer 0 .* has none of the names mlp"):
        applied(model, composite_attention("vo")).__enter__()
    flex = samples.build("llama", "flex_attention")
    with pytest.raises(ValueError, match="drops or silences tokens"):
        applied(flex, composite_attention()).__enter__()
    assert visual_tokens(words_and_picture(2, 3)).sum() == 3

"""A rule's state belongs to the call: nothing stays behind, nobody else sees it, nothing is silently lost."""

from __future__ import annotations

import contextvars
import json
import threading

import pytest
import torch
import transformers as T

from families import TEXT
from models.rules import samples
from vitrail.models.rules import (
    applied,
    bidirectional_items,
    causal,
    keep_attended,
    keep_given,
    same_segment,
    visual_isolated,
    window,
)


def rows(family, model, side="right"):
    return samples.batch([[samples.sample(model, family, seed, words=4 + seed)] for seed in range(2)], side)


def state(model):
    hooks = [
        (len(one._forward_pre_hooks), len(one._forward_hooks), len(one._forward_pre_hooks_with_kwargs))
        for one in model.modules()
    ]
    attend = [getattr(getattr(one, "config", None), "_attn_implementation", None) for one in model.modules()]
    return hooks, attend, model.config.get_text_config()._attn_implementation


@pytest.mark.parametrize("family", samples.FAMILIES)
def test_everything_is_put_back_also_after_an_exception(family, tmp_path):
    model = samples.build(family)
    inputs, layout = rows(family, model)
    before, plain = state(model), samples.logits(model, inputs)
    saved = model.config.to_json_string()
    rule = visual_isolated() & same_segment()
    with applied(model, rule, layout):
        samples.logits(model, inputs)
        assert state(model) != before
        assert model.config.to_json_string() == saved
        model.save_pretrained(tmp_path)
    assert "vitrail_sdpa" not in "".join(one.read_text() for one in tmp_path.glob("*.json"))
    assert "attn_implementation" not in json.loads((tmp_path / "config.json").read_text())
    assert state(model) == before
    with pytest.raises(RuntimeError, match="mine"), applied(model, rule, layout):
        raise RuntimeError("mine")
    with pytest.raises(ValueError), applied(model, rule, layout):
        model(input_ids=inputs["input_ids"][:, :3], attention_mask=inputs["attention_mask"][:, :3])
    assert state(model) == before
    assert torch.equal(samples.logits(model, inputs), plain)


def test_threads_do_not_see_each_others_rules():
    model = samples.build("llava")
    inputs, layout = rows("llava", model)
    plain = samples.logits(model, inputs)
    wanted = {}
    rules = {"isolated": visual_isolated(), "both ways": bidirectional_items(), "none": None}
    for name, rule in rules.items():
        with applied(model, rule, layout):
            wanted[name] = samples.logits(model, inputs)
    assert torch.equal(wanted["none"], plain)
    begin, found, errors = threading.Barrier(3), {name: [] for name in rules}, []

    def work(name):
        try:
            begin.wait()
            for _ in range(6):
                with applied(model, rules[name], layout):
                    found[name].append(samples.logits(model, inputs))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in rules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for name, several in found.items():
        assert len(several) == 6
        assert all(torch.equal(one, wanted[name]) for one in several), name
    assert model.get_decoder().config._attn_implementation == "sdpa"


def test_a_thread_has_the_rule_only_in_a_copy_of_the_context():
    model = samples.build("llava")
    inputs, layout = rows("llava", model)
    plain, found = samples.logits(model, inputs), {}

    def work(name):
        found[name] = samples.logits(model, inputs)

    with applied(model, visual_isolated(), layout):
        ruled = samples.logits(model, inputs)
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=work, args=("plain",)),
            threading.Thread(target=context.run, args=(work, "copy")),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert torch.equal(found["plain"], plain)
    assert torch.equal(found["copy"], ruled)
    assert not torch.equal(plain, ruled)


def test_two_models_have_two_rules():
    first, second = samples.build("llava"), samples.build("llava")
    inputs, layout = rows("llava", first)
    plain = samples.logits(first, inputs)
    with applied(first, visual_isolated(), layout):
        one = samples.logits(first, inputs)
        assert torch.equal(samples.logits(second, inputs), plain)
        with applied(second, bidirectional_items(), layout):
            other = samples.logits(second, inputs)
            assert torch.equal(samples.logits(first, inputs), one)
    with applied(first, bidirectional_items(), layout):
        assert torch.equal(samples.logits(first, inputs), other)


def test_a_second_rule_in_the_same_model_is_refused():
    model = samples.build("llama")
    _, layout = rows("llama", model)
    with applied(model, causal(), layout):
        with pytest.raises(ValueError, match="causal holds in this model already; combine"):
            applied(model, same_segment(), layout).__enter__()
        with applied(model, None, layout):
            pass


def test_a_missing_mask_is_added_and_the_guess_cannot_strike():
    model = samples.build("llama")
    a = samples.sample(model, "llama")
    inputs, layout = samples.batch([[a, a]])
    with applied(model, same_segment(), layout):
        wanted = samples.logits(model, inputs)
        for cached in (False, True):
            found = samples.logits(model, {"input_ids": inputs["input_ids"]}, use_cache=cached)
            assert torch.equal(found, wanted)
            with torch.no_grad():
                assert torch.equal(model(inputs["input_ids"], use_cache=cached).logits, wanted)


@pytest.mark.parametrize("family", ["llama", "llava", "ours"])
def test_another_batchs_layout_is_refused(family):
    model = samples.build(family)
    inputs, _ = rows(family, model, "left")
    other = samples.batch([[samples.sample(model, family, 3, words=9)]])[1]
    moved = rows(family, model, "right")[1]
    rule = visual_isolated()
    for wrong, why in ((other, "give the layout of this batch"), (moved, "has its padding elsewhere")):
        with applied(model, rule, wrong), pytest.raises(ValueError, match=why):
            model(**inputs)
    with applied(model, rule), pytest.raises(ValueError, match="give the layout of the batch"):
        model(**inputs)
    with applied(model, window(4)):  # reads nothing but padding
        model(**inputs)


def test_our_model_takes_the_layout_that_comes_with_each_batch():
    model = samples.build("ours")
    found = []
    with applied(model, same_segment() & visual_isolated()):
        for seed in range(2):
            inputs, layout = samples.batch([[samples.sample(model, "ours", seed, words=4 + seed)]])
            found.append((samples.logits(model, inputs, layout=layout), inputs, layout))
    for logits, inputs, layout in found:
        with applied(model, same_segment() & visual_isolated(), layout):
            assert torch.equal(samples.logits(model, inputs), logits)


def test_rules_hold_in_a_model_with_adapters():
    from peft import LoraConfig, get_peft_model

    model = samples.build("llava")
    inputs, layout = rows("llava", model)
    with applied(model, visual_isolated(), layout):
        wanted = samples.logits(model, inputs)
    adapted = get_peft_model(model, LoraConfig(target_modules=r".*language_model.*q_proj")).eval()
    with applied(adapted, visual_isolated(), layout):
        found = samples.logits(adapted, inputs)
        samples.generate(adapted, inputs, tokens=2)
    assert samples.apart(found, wanted) < samples.CLOSE
    assert not torch.equal(samples.logits(adapted, inputs), found)


@pytest.mark.parametrize(
    ("family", "rule", "why"),
    [
        ("llama", causal().on([7]), "names layer 7, but LlamaModel has the layers 0 to 2"),
        ("gemma3", keep_attended(1, 0.5), "layer 1 of Gemma3TextModel has a sliding window"),
        ("gemma3", window(4), "cuts the cache of layer 0, which has a window of its own"),
        (
            "qwen3_vl",
            keep_given(0, torch.ones(1, 1).bool()),
            "adds visual features behind each of its first 1",
        ),
    ],
)
def test_what_a_family_cannot_is_refused_before_it_runs(family, rule, why):
    model = samples.build(family)
    before = state(model)
    with pytest.raises(ValueError, match=why):
        applied(model, rule).__enter__()
    assert state(model) == before


def test_a_window_of_the_whole_model_is_refused_too():
    config = T.MistralConfig(**TEXT, sliding_window=4)
    model = T.MistralForCausalLM._from_config(config).eval()
    with pytest.raises(ValueError, match="has a sliding window"):
        applied(model, keep_attended(1, 0.5)).__enter__()


def test_ways_to_attend_that_cannot_follow_are_refused():
    model = samples.build("llama")
    for attention, rule, why in (
        ("flash_attention_2", causal(), "needs a mask, which flash_attention_2 does not take"),
        ("flex_attention", keep_attended(1, 0.5), "which FlexAttention's block masks cannot follow"),
        ("paged|eager", causal(), "rules hold under sdpa, eager, flex_attention"),
    ):
        model.get_decoder().config._attn_implementation = attention
        with pytest.raises(ValueError, match=why):
            applied(model, rule).__enter__()


def test_a_model_without_a_decoder_is_refused():
    model = T.BertModel._from_config(
        T.BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    )
    with pytest.raises(ValueError, match=r"no decoder with \.layers"):
        applied(model, causal()).__enter__()


def test_a_compiled_model_is_refused(monkeypatch):
    model = samples.build("llama")
    inputs, layout = rows("llama", model)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with applied(model, causal(), layout), pytest.raises(ValueError, match="disable_compile=True"):
        model(**inputs)

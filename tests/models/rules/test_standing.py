"""Rules that stand in a model: everybody who feeds it gets them, without a word."""

from __future__ import annotations

import copy
import threading

import pytest
import torch

from families import IMAGE
from models.rules import samples
from vitrail.models.caching import LIBRARY_NAME, cache_of
from vitrail.models.layout import Layout
from vitrail.models.rules import applied, same_segment, visual_isolated
from vitrail.models.rules.derived import derived_layout
from vitrail.models.rules.ee_mllm import composite_attention
from vitrail.models.rules.standing import stand, standing, withdraw
from vitrail.models.rules.tc_llava import tc_llava


def rows(model, family, side="left"):
    return samples.batch([[samples.sample(model, family, seed, words=4 + seed)] for seed in range(2)], side)


def rule_of(family):
    return composite_attention() if family in samples.THREE_AXES else tc_llava(0.5) & composite_attention()


@pytest.mark.parametrize("family", samples.PICTURES + ("ours",))
def test_a_standing_rule_is_the_rule_around_a_block(family):
    model = samples.build(family)
    inputs, layout = rows(model, family)
    with applied(model, rule_of(family), layout):
        wanted = samples.logits(model, inputs)
        answer = samples.generate(model, inputs)
        beams = samples.generate(model, inputs, num_beams=2)
    plain, kind = samples.logits(model, inputs), type(model)
    stand(model, "mine", rule_of(family))
    assert isinstance(model, kind) and type(model).__name__ == kind.__name__
    for given in ({}, {"layout": layout}):
        assert torch.equal(samples.logits(model, inputs, **given), wanted)
        assert torch.equal(samples.generate(model, inputs, **given).sequences, answer.sequences)
        assert torch.equal(samples.generate(model, inputs, num_beams=2, **given).sequences, beams.sequences)
    assert samples.apart(wanted[layout.present], plain[layout.present]) > 1e-3
    withdraw(model, "mine")
    assert type(model) is kind and not standing(model)
    assert torch.equal(samples.logits(model, inputs), plain)


def test_several_rules_stand_together_and_packing_joins_last():
    model = samples.build("llava")
    packed, layout = samples.batch([[samples.sample(model, "llava", seed) for seed in range(2)]])
    with applied(model, visual_isolated() & composite_attention(layers=[1]) & same_segment(), layout):
        wanted = samples.logits(model, packed)
    stand(model, "first", visual_isolated())
    stand(model, "second", composite_attention(layers=[1]))
    assert list(standing(model)) == ["first", "second"]
    with applied(model, same_segment(), layout):
        assert torch.equal(samples.logits(model, packed), wanted)
    with applied(model, None, layout):
        assert not torch.equal(samples.logits(model, packed), wanted)
    with pytest.raises(ValueError, match="first stands in this model already"):
        stand(model, "first", visual_isolated())
    with pytest.raises(ValueError, match="no rule 'third' stands in this model; there are: first, second"):
        withdraw(model, "third")
    with pytest.raises(ValueError, match="names layer 9"):
        stand(model, "third", visual_isolated().on([9]))


def test_a_copy_has_the_rule_and_threads_do_not_disturb_each_other():
    model = samples.build("llava")
    inputs, layout = rows(model, "llava")
    stand(model, "mine", rule_of("llava"))
    wanted = samples.logits(model, inputs, layout=layout)
    again = copy.deepcopy(model)
    withdraw(model, "mine")
    plain = samples.logits(model, inputs)
    assert torch.equal(samples.logits(again, inputs, layout=layout), wanted)
    assert not torch.equal(plain, wanted)
    found, errors = [], []

    def work():
        try:
            found.extend(samples.logits(again, inputs, layout=layout) for _ in range(4))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors and len(found) == 12 and all(torch.equal(one, wanted) for one in found)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm", "ours"])
def test_it_trains_with_gradient_checkpointing_too(family):
    model = samples.build(family).train()
    inputs, layout = rows(model, family, "right")
    labels = torch.where(layout.present & ~layout.visual, inputs["input_ids"], -100)
    stand(model, "mine", rule_of(family))
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        samples.forget(model)
        model(**inputs, labels=labels, use_cache=False, layout=layout).loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert samples.apart(found[1], found[0]) < samples.CLOSE


def test_a_cache_remembers_what_it_holds():
    model = samples.build("llava")
    stand(model, "mine", rule_of("llava"))
    inputs, _ = rows(model, "llava", "right")
    ends = inputs["attention_mask"].sum(-1)
    with torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        choice = torch.tensor([1, 0, 1])
        copied = copy.deepcopy(cache)
        copied.reorder_cache(choice)
        words = torch.tensor([[7, 8], [9, 10], [11, 12]])
        mask = torch.cat([inputs["attention_mask"][choice], torch.ones(3, 2).long()], 1)
        places = ends[choice][:, None] + torch.arange(2)
        given = {"attention_mask": mask, LIBRARY_NAME: copied, "position_ids": places}
        found = model(input_ids=words, **given).logits
        for index, row in enumerate(choice.tolist()):
            real = inputs["attention_mask"][row].bool()
            ids = torch.cat([inputs["input_ids"][row][real], words[index]])[None]
            alone = model(input_ids=ids, pixel_values=inputs["pixel_values"][row : row + 1]).logits
            assert samples.apart(found[index], alone[0, -2:]) < samples.CLOSE
    from transformers import DynamicCache

    stranger = DynamicCache()
    stranger.update(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8), 0)
    with pytest.raises(
        ValueError, match="mine stands in this model and must know what the tokens in the cache are"
    ):
        model(input_ids=words[:1], **{LIBRARY_NAME: stranger})
    with pytest.raises(ValueError, match="hold a picture behind a cache"):
        model(input_ids=torch.full((2, 2), IMAGE), **{LIBRARY_NAME: cache})


def test_what_cannot_be_known_is_refused():
    model = samples.build("llava")
    stand(model, "mine", tc_llava())
    embeds = torch.zeros(1, 4, 32)
    with pytest.raises(ValueError, match="inputs_embeds alone do not say which tokens are pictures"):
        model(inputs_embeds=embeds)
    inputs, _ = samples.batch([[samples.sample(model, "llava", seed) for seed in range(2)]])
    beside = {
        **inputs,
        "input_ids": torch.tensor([[1] + [IMAGE] * 32 + [5]]),
        "attention_mask": torch.ones(1, 34).long(),
    }
    with pytest.raises(ValueError, match="pictures side by side, or tiles"):
        samples.logits(model, beside)
    text = samples.build("llama")
    stand(text, "mine", visual_isolated())
    with torch.no_grad():
        text(inputs_embeds=embeds)


def test_adapters_around_it_keep_it():
    from peft import LoraConfig, get_peft_model

    model = samples.build("llava")
    inputs, layout = rows(model, "llava")
    stand(model, "mine", rule_of("llava"))
    wanted = samples.logits(model, inputs)
    adapted = get_peft_model(model, LoraConfig(target_modules=r".*language_model.*q_proj")).eval()
    assert (
        samples.apart(samples.logits(adapted, inputs)[layout.present], wanted[layout.present]) < samples.CLOSE
    )
    from vitrail.inference.inputs import model_inputs

    assert "layout" in model_inputs(adapted, {**inputs, "layout": layout})
    assert len(samples.generate(adapted, {**inputs, "layout": layout}).sequences) == 2


@pytest.mark.parametrize("family", samples.PICTURES)
def test_a_derived_layout_says_what_the_encoder_says(family):
    model = samples.build(family)
    inputs, layout = rows(model, family)
    found = derived_layout(model, inputs)
    for name in ("segment", "modality", "item", "frame", "droppable"):
        assert torch.equal(getattr(found, name), getattr(layout, name)), name
    if family in samples.THREE_AXES:  # sizes tell pictures apart that stand side by side
        beside = {
            "input_ids": torch.tensor([[IMAGE] * 8 + [5]]),
            "image_grid_thw": torch.tensor([[1, 4, 4]] * 2),
        }
        assert derived_layout(model, beside).item.tolist() == [[0] * 4 + [1] * 4 + [-1]]


def test_frames_of_videos_are_derived():
    model = samples.build("llava_onevision")
    video = model.config.video_token_id
    ids = torch.tensor([[5] + [video] * 7 + [6]])
    found = derived_layout(model, {"input_ids": ids, "pixel_values_videos": torch.zeros(1, 3, 3, 16, 16)})
    assert found.frame.tolist() == [[-1, 0, 0, 1, 1, 2, 2, 2, -1]]
    apart = torch.tensor([[video, video, 5, video, video]])
    found = derived_layout(model, {"input_ids": apart, "video_grid_thw": torch.tensor([[2, 2, 4]])})
    assert found.frame.tolist() == [[0, 0, -1, 1, 1]] and found.item.tolist() == [[0, 0, -1, 0, 0]]
    assert derived_layout(model, {"input_ids": ids}).item.max() == -1
    assert isinstance(found, Layout)

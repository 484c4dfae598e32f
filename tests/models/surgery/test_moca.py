"""MoCa: pictures' states behind each layer, in our model and in transformers' families."""

import copy

import pytest
import torch

import families
from conftest import chat
from vitrail.inference.inputs import model_inputs
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.surgery.operating import operate
from vitrail.models.testbeds import nano

FAMILIES = ("nano", "llava", "qwen2_5_vl", "smolvlm")


def bundle_of(name, saved_family):
    return nano.build(seed=0) if name == "nano" else load(saved_family(name))


def batch_of(bundle, images=1):
    turns = ("what is it?", "a thing with a name")
    records = [bundle.encoder.encode(chat(*turns, seed=one, images=images)) for one in range(2)]
    return bundle.collator()(records)


def logits(bundle, batch, **options):
    with torch.no_grad():
        return bundle.model(**model_inputs(bundle.model, batch), **options).logits


def shifted(model, gain=1.5, bias=0.3):
    for one in model.moca:
        one.gain.data.mul_(gain)
        one.bias.data.add_(bias)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_it_begins_as_nothing_and_then_matters(name, saved_family):
    bundle = bundle_of(name, saved_family)
    batch = batch_of(bundle)
    before = logits(bundle, batch)
    operate(bundle.model, "moca")
    assert torch.equal(logits(bundle, batch), before)
    assert len(bundle.model.moca) == len(bundle.model.get_decoder().layers)
    shifted(bundle.model)
    assert not torch.allclose(logits(bundle, batch), before, atol=1e-2)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_layers_visual_states_are_calibrated_and_no_text(name, saved_family):
    """One layer alone, against its formula; that text behind it changes is the next layers' doing."""
    bundle = bundle_of(name, saved_family)
    batch = batch_of(bundle)
    layer = bundle.model.get_decoder().layers[0]
    seen = []
    layer.register_forward_hook(
        lambda _, args, output: seen.append(output if torch.is_tensor(output) else output[0])
    )
    logits(bundle, batch)
    operate(bundle.model, "moca", {"std": 0.5}, seed=1)
    one = bundle.model.moca[0]
    logits(bundle, batch)
    before, after = seen
    visual = batch["layout"].visual
    assert torch.equal(after[~visual], before[~visual])
    assert torch.allclose(after[visual], before[visual] * one.gain + one.bias, atol=1e-6)
    assert 0.3 < float(one.bias.detach().std()) < 0.7 and abs(float(one.gain.detach().mean()) - 1) < 0.3


@pytest.mark.parametrize("name", FAMILIES)
def test_it_comes_back_and_generates(name, saved_family, tmp_path):
    bundle = bundle_of(name, saved_family)
    operate(bundle.model, "moca", {"std": 0.3}, seed=1)
    batch = batch_of(bundle)
    changed = logits(bundle, batch)
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert torch.equal(logits(again, batch), changed)
    # With a cache and without: what is generated is text and stays.
    prompt = [again.encoder.encode(chat("what is it?"), add_generation_prompt=True)]
    inputs = model_inputs(again.model, again.collator()(prompt))
    told = [
        again.model.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=cache, num_beams=beams)
        for cache, beams in ((True, 1), (False, 1), (True, 2))
    ]
    assert torch.equal(told[0], told[1])
    assert anatomy.part(again.model, "moca.layers") is again.model.moca


def test_gradients_reach_scale_and_shift_with_and_without_checkpointing():
    found = []
    for checkpointing in (False, True):
        bundle = nano.build(seed=0)
        shifted(operate(bundle.model, "moca"))
        if checkpointing:
            bundle.model.gradient_checkpointing_enable()
        bundle.model.train()
        batch = batch_of(bundle)
        inputs = model_inputs(bundle.model, batch)
        bundle.model(**inputs, labels=batch["labels"], use_cache=False).loss.backward()
        found.append(bundle.model.moca[0])
    for one in found:
        assert one.gain.grad.abs().sum() > 0 and one.bias.grad.abs().sum() > 0
    assert torch.allclose(found[0].gain.grad, found[1].gain.grad, atol=1e-6)
    assert torch.allclose(found[0].bias.grad, found[1].bias.grad, atol=1e-6)


def test_text_alone_is_left_as_it_was_and_takes_part():
    bundle = nano.build(seed=0)
    batch = batch_of(bundle, images=0)
    before = logits(bundle, batch)
    shifted(operate(bundle.model, "moca"))
    assert torch.equal(logits(bundle, batch), before)
    inputs = model_inputs(bundle.model, batch)
    bundle.model(**inputs, labels=batch["labels"]).loss.backward()
    # No parameter is left out of the graph, which would stop training on several processes.
    assert all(p.grad is not None and not p.grad.any() for p in bundle.model.moca.parameters())


@pytest.mark.parametrize("name", ["nano", "llava"])
def test_adapters_over_it(name, saved_family):
    """PEFT calls the model's forward past its hooks."""
    from peft import LoraConfig, get_peft_model

    bundle = bundle_of(name, saved_family)
    shifted(operate(bundle.model, "moca"))
    batch = batch_of(bundle)
    before = logits(bundle, batch)
    names = "|".join(("language", "language_model"))
    targets = rf".*({names}).*q_proj"
    wrapped = get_peft_model(bundle.model, LoraConfig(r=2, target_modules=targets))
    with torch.no_grad():
        found = wrapped(**model_inputs(wrapped, batch)).logits
    assert torch.equal(found, before)


def test_it_is_not_decayed():
    from vitrail.training.optimiser import parameter_groups
    from vitrail.training.selection import select_parameters
    from vitrail.training.stages import StageConfig

    bundle = nano.build(seed=0)
    operate(bundle.model, "moca")
    chosen = select_parameters(bundle.model, ("moca",))
    config = StageConfig(name="tune", data="data", trains=("moca",), max_steps=1, weight_decay=0.1)
    groups = parameter_groups(bundle.model, chosen, torch.nn.Module(), config)
    assert {group["weight_decay"] for group in groups} == {0.0}
    assert sum(p.numel() for group in groups for p in group["params"]) == 2 * 2 * 64


def test_a_copy_is_its_own():
    bundle = nano.build(seed=0)
    operate(bundle.model, "moca")
    batch = batch_of(bundle)
    before = logits(bundle, batch)
    other = copy.deepcopy(bundle.model)
    shifted(other)
    assert torch.equal(logits(bundle, batch), before)
    with torch.no_grad():
        changed = other(**model_inputs(other, batch)).logits
    assert not torch.allclose(changed, before, atol=1e-2)


def test_a_recipe_trains_it(tmp_path):
    from vitrail.recipes import loading
    from vitrail.recipes.run import run

    changes = {
        "model.surgeries": ["moca"],
        "stages.tune.trains": ["connector", "moca"],
        "stages.tune.max_steps": 2,
    }
    made = run(loading.load("nano", changes), tmp_path / "run").load()
    first, last = made.model.moca
    assert not torch.equal(first.gain, torch.ones_like(first.gain)) and first.bias.any()
    # Behind the last layer no word reads pictures any more.
    assert torch.equal(last.gain, torch.ones_like(last.gain))


def test_what_it_cannot_do_is_refused():
    model = nano.build(seed=0).model
    operate(model, "moca")
    with pytest.raises(ValueError, match="calibrated already"):
        operate(model, "moca")
    with pytest.raises(ValueError, match="no placeholder of pictures"):
        operate(families.llama(), "moca")
    with pytest.raises(ValueError, match="inputs_embeds came without input_ids"):
        model(inputs_embeds=torch.zeros(1, 4, 64))
    with pytest.raises(ValueError, match="does not go with rules that drop tokens"):
        model.moca[0](torch.zeros(1, 3, 64), torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="std"):
        operate(nano.build(seed=0).model, "moca", {"std": -1})

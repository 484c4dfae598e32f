"""Which blocks are computed again in the backward pass, and that nothing else changes."""

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

import families
from conftest import chat
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.training.activations import checkpoint_activations
from vitrail.training.joint import Joint
from vitrail.training.packed_batches import PackedCollator


def runs(model):
    """How often each block's forward has run, by its path."""
    counted = {}

    def count(path):
        def hook(*_):
            counted[path] += 1

        return hook

    for path, module in model.named_modules():
        if isinstance(module, GradientCheckpointingLayer):
            counted[path] = 0
            first = next(child for child in module.modules() if not list(child.children()))
            first.register_forward_hook(count(path))
    return counted


def gradients(bundle, batch):
    bundle.model.zero_grad(set_to_none=True)
    loss = Joint(bundle.model, NextToken()).train()(batch).total()
    loss.backward()
    return loss.detach(), {name: one.grad for name, one in bundle.model.named_parameters()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_every_familys_blocks_are_computed_twice_with_the_same_gradients(name, packed, saved_family):
    bundle = load(saved_family(name))
    bundle.model.requires_grad_(True)
    records = [bundle.encoder.encode(chat("what?", "a cat", seed=seed)) for seed in range(2)]
    batch = PackedCollator(bundle.collator())([records]) if packed else bundle.collator()(records)
    counted = runs(bundle.model)
    loss, expected = gradients(bundle, batch)
    once = dict(counted)
    assert once and all(once.values())
    for asked, again in ((True, ("tower.blocks", "language.layers")), (("language",), ("language.layers",))):
        counted.update(dict.fromkeys(counted, 0))
        number = checkpoint_activations(bundle.model, asked)
        same, found = gradients(bundle, batch)
        parts = anatomy.parts(bundle.model)
        inside = {id(module) for part in again for module in parts[part].modules()}
        paths = {path for path in counted if id(bundle.model.get_submodule(path)) in inside}
        assert number == len(paths) > 0
        assert {path for path in counted if counted[path] == 2 * once[path]} == paths
        assert torch.equal(loss, same)
        for key, gradient in found.items():
            assert (gradient is None) == (expected[key] is None), key
            assert gradient is None or torch.allclose(gradient, expected[key], atol=1e-6, rtol=1e-5), key
    assert checkpoint_activations(bundle.model, False) == 0


def test_some_blocks_of_some_parts():
    model = families.build("llava")
    assert checkpoint_activations(model, ("language.layers[:2]", "tower.blocks[-1:]")) == 3
    assert [layer.gradient_checkpointing for layer in model.get_decoder().layers] == [True, True, False]
    assert checkpoint_activations(model, True) == 5
    assert checkpoint_activations(model, ("vision",)) == 2


def test_parts_that_are_not_there_or_have_no_blocks_are_refused():
    model = nano.build(seed=0).model
    with pytest.raises(ValueError, match="names 'languge', a part that this model does not have"):
        checkpoint_activations(model, ("languge",))
    with pytest.raises(ValueError, match="'connector' holds no block"):
        checkpoint_activations(model, ("connector",))
    with pytest.raises(ValueError, match="does not offer it"):
        checkpoint_activations(Plain(), True)


class Plain(torch.nn.Module):
    """A model without the offer."""

    config = type("Config", (), {})()

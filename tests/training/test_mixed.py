"""Batches without pictures: every parameter has a gradient path, and nothing else changes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import families
from conftest import chat
from vitrail.models.loading import load
from vitrail.objectives.next_token import NextToken
from vitrail.training.joint import Joint
from vitrail.training.mixed import example_of

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import mixed_processes  # noqa: E402
import mixed_rows  # noqa: E402

TEXT_ONLY = [(1, 0), (2, 0)]
MIXED = [(1, 0), (2, 1), (3, 3), (4, 0)]


def gradients(model, name, rows, example):
    """The loss and every gradient of one batch."""
    joint = Joint(model, NextToken(), example).train()
    model.zero_grad(set_to_none=True)
    loss = joint(mixed_rows.batch(name, model, rows)).total()
    loss.backward()
    return loss.detach(), {key: parameter.grad for key, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", mixed_rows.PICTURES)
def test_text_alone_reaches_what_pictures_reach_and_changes_nothing(name):
    model = mixed_rows.build(name)
    _, seen = gradients(model, name, MIXED, None)
    loss, without = gradients(model, name, TEXT_ONLY, None)
    same, found = gradients(model, name, TEXT_ONLY, lambda: mixed_rows.pixels(name, [(7, 1)]))
    assert torch.equal(loss, same)
    assert any(gradient is None for key, gradient in without.items() if seen[key] is not None)
    for key, gradient in found.items():
        assert (gradient is None) == (seen[key] is None), key
        if without[key] is not None:
            assert torch.equal(gradient, without[key]), key
        elif gradient is not None:
            assert not gradient.any(), key


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_every_familys_own_collator_makes_the_example(name, tmp_path):
    bundle = load(families.save_family(name, tmp_path / name))
    model, collator = bundle.model, bundle.collator()
    assert example_of(collator), name
    texts = [bundle.encoder.encode(chat("what is it?", "a cat", images=0))]
    found = []
    for example in (None, lambda: example_of(collator)):
        joint = Joint(model.requires_grad_(True), NextToken(), example).train()
        model.zero_grad(set_to_none=True)
        joint(collator(texts)).total().backward()
        found.append({key: parameter.grad for key, parameter in model.named_parameters()})
    without, reached = found
    # LLaVA reads a layer in front of its tower's last norm: no picture reaches that.
    assert [
        key for key, gradient in reached.items() if gradient is None and "post_layernorm" not in key
    ] == []
    assert all(
        torch.equal(reached[key], gradient) for key, gradient in without.items() if gradient is not None
    )
    assert not any(reached[key].any() for key in reached if without[key] is None and reached[key] is not None)


class Forbidden(dict):
    """An example that must not be asked for."""

    def __call__(self):
        raise AssertionError("nobody needs an example here")


def test_the_example_is_asked_for_only_where_it_is_needed():
    model = mixed_rows.build("llava")
    gradients(model, "llava", MIXED, Forbidden())  # has pictures
    model.requires_grad_(False)
    model.get_decoder().requires_grad_(True)
    gradients(model, "llava", TEXT_ONLY, Forbidden())  # nothing that sees pictures trains
    model.requires_grad_(True)
    with pytest.raises(AssertionError, match="nobody needs"):
        gradients(model, "llava", TEXT_ONLY, Forbidden())
    joint = Joint(model, NextToken(), Forbidden()).eval()
    joint(mixed_rows.batch("llava", model, TEXT_ONLY))  # nothing trains in evaluation
    plain = families.llama().train()
    batch = mixed_rows.batch("llava", model, TEXT_ONLY)
    Joint(plain, NextToken(), Forbidden()).train()(batch)  # has no tower


def test_it_is_made_once_and_the_hook_does_not_stay():
    model, made = mixed_rows.build("llava"), []

    def example():
        made.append(1)
        return mixed_rows.pixels("llava", [(7, 1)])

    joint = Joint(model, NextToken(), example).train()
    for _ in range(3):
        joint(mixed_rows.batch("llava", model, TEXT_ONLY))
    assert len(made) == 1
    assert not model.get_input_embeddings()._forward_hooks
    with pytest.raises(KeyError):
        joint({"input_ids": torch.tensor([[1]])})
    assert not model.get_input_embeddings()._forward_hooks


class Restless(nn.Module):
    """A tower that draws random numbers and keeps statistics while it trains."""

    def __init__(self, tower):
        super().__init__()
        self.tower, self.width = tower, tower.width
        self.norm, self.dropout = nn.BatchNorm2d(3), nn.Dropout(0.5)

    def grid(self, width, height):
        return self.tower.grid(width, height)

    def forward(self, pixels):
        return self.tower(self.dropout(self.norm(pixels)))


def test_neither_statistics_nor_random_numbers_know_of_the_example(fresh_nano):
    model = fresh_nano.model
    model.tower = Restless(model.tower)
    model.requires_grad_(True)
    joint = Joint(model, NextToken(), lambda: mixed_rows.pixels("vitrail", [(7, 1)])).train()
    before, state = model.tower.norm.running_mean.clone(), torch.random.get_rng_state()
    joint(mixed_rows.batch("vitrail", model, TEXT_ONLY)).total().backward()
    assert model.tower.norm.weight.grad is not None and not model.tower.norm.weight.grad.any()
    assert torch.equal(model.tower.norm.running_mean, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in model.tower.modules())
    joint(mixed_rows.batch("vitrail", model, MIXED))  # a real picture does move them
    assert not torch.equal(model.tower.norm.running_mean, before)


def test_the_collators_own_picture_is_the_example(nano):
    found = example_of(nano.collator())
    assert found["pixel_values"].shape == (1, 3, 32, 32)
    assert found["pixel_values"].std() > 0.1  # a uniform picture may be taken for padding
    assert example_of(lambda records: {}) == {}


@pytest.mark.long
def test_two_processes_where_one_has_no_picture_equal_one(tmp_path):
    """DDP that allows no unused parameter, and FSDP2 block by block: neither hangs, all end alike."""
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = [str(HERE / "mixed_processes.py"), str(tmp_path)]
    done = subprocess.run([*run, *program], env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    ways = {path.stem: load_file(path) for path in sorted(tmp_path.glob("*.safetensors"))}
    assert len(ways) == 2 * (
        2 * len(mixed_rows.PICTURES) - 2
    )  # the connector of the two Qwens is the tower's
    for stem, found in ways.items():
        name, _, trains = stem.split("-")
        alone = mixed_processes.train(name, "alone", trains, 0, 1)
        torch.testing.assert_close(found["losses"], alone["losses"], atol=1e-5, rtol=0, msg=stem)
        assert found.keys() == alone.keys()
        for key in alone:
            torch.testing.assert_close(found[key], alone[key], atol=2e-5, rtol=1e-4, msg=f"{stem} {key}")

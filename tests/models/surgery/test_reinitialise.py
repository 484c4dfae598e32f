"""A part that begins anew: that part, all of it, and nothing else; as wide as the model's own rule draws."""

from __future__ import annotations

import copy

import pytest
import torch

import families
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.surgery.operating import operate
from vitrail.models.testbeds import nano
from vitrail.models.towers.efficientnet import EfficientNetLite


@pytest.mark.parametrize("name", ["nano", "llava", "qwen2_5_vl", "smolvlm", "internvl"])
def test_the_last_block_alone_is_drawn_anew(name, tmp_path):
    part = "language.layers[-1:]" if name == "nano" else "tower.blocks[-1:]"
    if name == "nano":
        nano.build(seed=0).save(tmp_path / "model")
    else:
        families.save_family(name, tmp_path / "model")
    bundle = load(tmp_path / "model")
    before = copy.deepcopy(bundle.model.state_dict())
    state = torch.get_rng_state()
    operate(bundle.model, "reinitialise", {"parts": [part]}, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    block = {id(p) for p in anatomy.part(bundle.model, part).parameters()}
    fresh = load(tmp_path / "model").model
    operate(fresh, "reinitialise", {"parts": [part]}, seed=1)
    for (key, value), other in zip(bundle.model.named_parameters(), fresh.parameters(), strict=True):
        changed = not torch.equal(value, before[key])
        if value.ndim > 1:
            assert changed == (id(value) in block), key
        else:  # biases and norms begin at 0 and 1 anyway
            assert not changed or id(value) in block, key
        assert torch.equal(value, other)
    bundle.save(tmp_path / "again")
    again = load(tmp_path / "again").model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in bundle.model.state_dict().items())


def test_it_is_drawn_as_in_a_model_from_scratch():
    model = families.build("llava")
    with torch.no_grad():
        for parameter in anatomy.part(model, "tower.blocks[-1:]").parameters():
            parameter.fill_(3.0)
    operate(model, "reinitialise", {}, seed=0)
    fresh = families.build("llava", seed=5)
    for one, other in zip(
        anatomy.part(model, "tower.blocks[-1:]").parameters(),
        anatomy.part(fresh, "tower.blocks[-1:]").parameters(),
        strict=True,
    ):
        if one.ndim > 1:
            assert float(one.detach().std() / other.detach().std()) == pytest.approx(1, abs=0.15)
        else:
            assert torch.equal(one, other)


def test_a_tower_of_layers_that_draw_themselves():
    model = nano.build(seed=0).model
    model.tower = EfficientNetLite(EfficientNetLite.Config(image_size=32))
    with torch.no_grad():
        for parameter in model.tower.parameters():
            parameter.fill_(3.0)
    rest = copy.deepcopy(model.language.state_dict())
    operate(model, "reinitialise", {"parts": ["tower"]}, seed=0)
    assert not any(bool((parameter == 3).any()) for parameter in model.tower.parameters())
    assert all(torch.equal(value, rest[key]) for key, value in model.language.state_dict().items())
    model.connector.more = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match="connector has no rule that draws 'more' anew"):
        operate(model, "reinitialise", {"parts": ["connector"]})


def test_parts_that_are_not_there():
    model = families.build("llava")
    with pytest.raises(ValueError, match=r"no part 'tower\.block'; did you mean 'tower\.blocks'"):
        operate(model, "reinitialise", {"parts": ["tower.block"]})


def test_a_connector_with_cells_is_drawn_anew_whether_it_was_trained_or_not():
    for trained in (False, True):
        model = nano.build(seed=0).model
        connector = anatomy.part(model, "connector")
        if trained:
            torch.nn.init.normal_(connector.cells)
        before = connector.up.weight.clone()
        operate(model, "reinitialise", {"parts": ["connector"]}, seed=1)
        assert not connector.cells.any() and not torch.equal(before, connector.up.weight)

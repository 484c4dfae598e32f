import pytest
import torch
from torch import nn

from vitrail.training.selection import describe, select_parameters


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_part_trains_and_nothing_else(fresh_nano):
    selection = select_parameters(fresh_nano.model, ["connector"])
    assert trained(fresh_nano.model) == set(selection.parameters)
    assert all(name.startswith("connector.") for name in selection.parameters)
    rows = {row.part: row for row in selection.table}
    assert rows["connector"].trained == rows["connector"].total == selection.trained > 0
    assert rows["tower"].trained == rows["language"].trained == 0
    assert selection.total == sum(p.numel() for p in fresh_nano.model.parameters())
    assert "connector" in describe(selection.table)


def test_selecting_again_freezes_what_trained_before(fresh_nano):
    select_parameters(fresh_nano.model, ["all"])
    assert trained(fresh_nano.model) == {name for name, _ in fresh_nano.model.named_parameters()}
    select_parameters(fresh_nano.model, ["tower"])
    assert all(name.startswith("tower.") for name in trained(fresh_nano.model))


def test_the_longest_name_owns_a_parameter(fresh_nano):
    selection = select_parameters(fresh_nano.model, ["language", "language.embeddings"])
    owners = set(selection.parameters.values())
    assert owners == {"language", "language.embeddings"}
    embeddings = [name for name, owner in selection.parameters.items() if owner == "language.embeddings"]
    assert len(embeddings) == 1 and "embed" in embeddings[0]


def test_adapters_only(fresh_nano):
    from peft import LoraConfig, inject_adapter_in_model

    with pytest.raises(ValueError, match="has no adapters; add lora"):
        select_parameters(fresh_nano.model, ["language.lora"])
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj"]), fresh_nano.model.get_decoder())
    selection = select_parameters(fresh_nano.model, ["connector", "language.lora"])
    adapters = {name for name in selection.parameters if "lora_" in name}
    assert adapters and all(selection.parameters[name] == "language.lora" for name in adapters)
    assert trained(fresh_nano.model) == set(selection.parameters)
    assert all("lora_" in name or name.startswith("connector.") for name in selection.parameters)


@pytest.mark.parametrize(
    "name,message",
    [
        ("conector", "did you mean 'connector'"),
        ("language.lara", "did you mean 'language.lora'"),
        ("audio_tower_of_babel_xyz", "known:|did you mean"),
    ],
)
def test_a_name_that_matches_nothing(fresh_nano, name, message):
    with pytest.raises(ValueError, match=message):
        select_parameters(fresh_nano.model, [name])


def test_parts_without_parameters_are_refused():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.GELU()})
    with pytest.raises(ValueError, match="has no parameters"):
        select_parameters(model, ["b"], parts=dict(model))


def test_shared_parameters_count_once():
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight = model["a"].weight
    selection = select_parameters(model, ["a", "b"], parts=dict(model))
    assert selection.trained == selection.total == 9
    assert isinstance(model["a"].weight, torch.nn.Parameter)

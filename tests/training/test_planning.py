import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vitrail.training import planning
from vitrail.training.planning import StagePlan, choose_steps
from vitrail.training.precision import choose
from vitrail.training.stages import StageConfig


def stage(**changes):
    return StageConfig(**{"name": "s", "batch_size": 8, "accumulation": 2, **changes})


def test_the_shortest_budget_holds():
    config = stage(max_steps=50, epochs=2, max_minutes=1)
    assert choose_steps(config, 160, 1, 0.1) == (20, "epochs")
    assert choose_steps(config, 1600, 1, 0.1) == (50, "max_steps")
    assert choose_steps(config, 1600, 1, 10.0) == (5, "max_minutes")
    assert choose_steps(config, 160, 2, 0.1) == (10, "epochs")  # two processes take twice as many a step


def test_epochs_are_rounded_up_and_may_be_parts():
    assert choose_steps(stage(epochs=1), 100, 1, None) == (7, "epochs")
    assert choose_steps(stage(epochs=0.5), 96, 1, None) == (3, "epochs")
    assert choose_steps(stage(epochs=0.01), 96, 1, None) == (1, "epochs")


def test_time_spent_measuring_belongs_to_the_budget():
    config = stage(max_minutes=1, warmup=0)
    assert choose_steps(config, 100, 1, 1.0)[0] == 57
    assert choose_steps(config, 100, 1, 1.0, spent=20)[0] == 37
    with pytest.raises(ValueError, match=r"max_minutes=1 is too short: one step takes 90.00 s"):
        choose_steps(config, 100, 1, 90.0)


def test_warmup_that_does_not_fit_the_measured_steps():
    with pytest.raises(ValueError, match="warmup=40 steps does not fit into a stage of 28"):
        choose_steps(stage(max_minutes=1, warmup=40), 100, 1, 2.0)


def test_a_plan_is_read_back(tmp_path):
    values = [7, "epochs", 100, 16, 1.12, None, None, "float32", "asked", "cpu", 2, 1, 10, 20, "ab"]
    plan = StagePlan(*values)
    plan.write(tmp_path / "plan.json")
    assert StagePlan.read(tmp_path / "plan.json") == plan
    assert StagePlan.read(tmp_path / "none.json") is None
    older = {
        name: value for name, value in vars(plan).items() if name not in ("busy", "usual_seconds_a_step")
    }
    (tmp_path / "plan.json").write_text(json.dumps(older))
    assert StagePlan.read(tmp_path / "plan.json") == plan
    (tmp_path / "plan.json").write_text('{"steps": 3}')
    with pytest.raises(ValueError, match="is no stage plan"):
        StagePlan.read(tmp_path / "plan.json")


def test_measured_batches_span_the_lengths():
    lengths = [10] * 100 + [100] * 100
    chosen = planning.batches_to_time(200, 10, 0, lengths)
    assert len(chosen) == 1 + planning.TIMED_STEPS
    longest = [max(lengths[index] for index in step) for step in chosen[1:]]
    assert longest == sorted(longest) and longest[0] == 10 and longest[-1] == 100


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.linear.bias.requires_grad_(False)


def test_everything_is_put_back():
    module = Stateful().train()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    draws = []
    for inside in (False, True):
        torch.manual_seed(3), random.seed(3), np.random.seed(3)
        if inside:
            with planning.putting_back(module):
                module.train()
                module.norm(module.linear(torch.randn(8, 4))).sum().backward()
                with torch.no_grad():
                    module.linear.weight.add_(1)
                random.random(), np.random.rand()
        draws.append((torch.rand(1).item(), random.random(), np.random.rand()))
    assert draws[0] == draws[1]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert module.training and not module.norm.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_fingerprint_is_of_frozen_weights_only():
    module = Stateful()
    trained = {"linear.weight"}
    first = planning.frozen_fingerprint(module, trained)
    with torch.no_grad():
        module.linear.weight.add_(1)
    assert planning.frozen_fingerprint(module, trained) == first
    with torch.no_grad():
        module.linear.bias.add_(1)
    assert planning.frozen_fingerprint(module, trained) != first


@pytest.mark.parametrize(
    ("units", "width", "name", "why"),
    [
        (False, 1024, "float32", "no matrix units"),
        (True, 64, "float32", "width 64 gains nothing"),
        (True, 1024, "bfloat16", "has matrix units"),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_multiplies_it_faster(monkeypatch, units, width, name, why):
    from vitrail.training import precision

    monkeypatch.setattr(precision, "has_matrix_units", lambda: units)
    model = nn.Linear(4, 4)
    model.config = SimpleNamespace(hidden_size=width)
    chosen = choose("auto", model, torch.device("cpu"))
    assert chosen.name == name and why in chosen.reason
    assert choose("float32", model, torch.device("cpu")).reason == "as asked for"


def test_weights_of_their_own_type_keep_it():
    device = torch.device("cpu")
    model = nn.Linear(4, 4).bfloat16()
    with pytest.raises(ValueError, match="weights are bfloat16"):
        choose("float32", model, device)
    assert choose("auto", model, device).reason == "the weights are bfloat16"

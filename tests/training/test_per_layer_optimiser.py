"""One optimiser a parameter gives what one for all gives, and keeps no gradient."""

import gc

import pytest
import torch
from torch import nn

from vitrail.training.per_layer_optimiser import PerLayerOptimizer, refuse_per_layer


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def groups(model):
    return [
        {
            "params": [p for p in model.parameters() if p.ndim == 2],
            "lr": 0.05,
            "weight_decay": 0.1,
            "part": "matrices",
        },
        {
            "params": [p for p in model.parameters() if p.ndim == 1],
            "lr": 0.01,
            "weight_decay": 0.0,
            "part": "biases",
        },
    ]


def make(parts):
    return torch.optim.AdamW([dict(group) for group in parts])


def run(model, optimizer, steps, begin=0, schedule=None):
    for step in range(begin, begin + steps):
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return [p.detach().clone() for p in model.parameters()]


def test_it_gives_what_one_optimiser_gives_with_a_schedule():
    found = []
    for kind in (make, lambda parts: PerLayerOptimizer(parts, make)):
        model = network()
        optimizer = kind(groups(model))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
        found.append(run(model, optimizer, 5, schedule=schedule))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert [group["part"] for group in optimizer.param_groups] == ["matrices", "biases"]


def test_no_gradient_outlives_the_backward_pass():
    model = network()
    optimizer = PerLayerOptimizer(groups(model), make)
    most = []
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(
            lambda _: most.append(sum(p.grad is not None for p in parameters))
        )
    run(model, optimizer, 1)
    assert max(most) <= 1 and all(p.grad is None for p in parameters)
    assert optimizer.state_bytes() == 2 * 4 * sum(p.numel() for p in parameters)


def test_it_goes_on_from_its_state():
    model = network()
    whole = run(model, PerLayerOptimizer(groups(model), make), 6)
    model = network()
    first = PerLayerOptimizer(groups(model), make)
    run(model, first, 3)
    state = first.state_dict()
    first.remove()
    second = PerLayerOptimizer(groups(model), make)
    second.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(run(model, second, 3, begin=3), whole, strict=True))
    with pytest.raises(ValueError, match="4 AdamW optimisers, here are 4 of SGD"):
        PerLayerOptimizer(groups(network()), lambda p: torch.optim.SGD(p, lr=0.1)).load_state_dict(state)


def test_one_that_is_forgotten_steps_no_more():
    model = network()
    optimizer = PerLayerOptimizer(groups(model), make)
    del optimizer
    gc.collect()
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.randn(2, 6)).sum().backward()
    assert all(torch.equal(a, p) for a, p in zip(before, model.parameters(), strict=True))
    assert all(p.grad is not None for p in model.parameters())


def test_what_needs_every_gradient_is_refused():
    refuse_per_layer(accumulation=1, max_grad_norm=None, world_size=1)
    for wrong, said in (
        ({"accumulation": 2}, "accumulation is 2"),
        ({"max_grad_norm": 1.0}, "max_grad_norm is 1.0.*set max_grad_norm: null"),
        ({"world_size": 2}, "processes is 2"),
    ):
        with pytest.raises(ValueError, match=said):
            refuse_per_layer(**{"accumulation": 1, "max_grad_norm": None, "world_size": 1, **wrong})

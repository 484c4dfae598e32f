"""Trains tiny families on mixed rows, on one process or under torchrun. A program, not a test: ``FOLDER``.

Writes what each way ends with: ``<family>-<way>-<trains>.safetensors`` (weights and losses), the way being ``alone``,
``ddp`` or ``fsdp2``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mixed_rows
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from vitrail.objectives.next_token import NextToken
from vitrail.training.joint import Joint

# Pictures of the rows of each step; the first half of a step's rows is the first process's.
STEPS = ((0, 0, 1, 0), (2, 1, 0, 0), (0, 0, 0, 0), (1, 0, 3, 1))
TRAINS = ("all", "connector")


def shard(joint: Joint, mesh) -> None:
    """Blocks of tower and decoder, connector, then the rest.

    Not the tower as a whole: transformers knows by its class which hidden states to keep, and sharding changes that.
    """
    model = joint.model
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    inner = {id(child) for one in lists for child in one.modules() if child is not one}
    for one in lists:
        if id(one) not in inner:
            for block in one:
                fully_shard(block, mesh=mesh)
    for module in connectors(model):
        fully_shard(module, mesh=mesh)
    fully_shard(joint, mesh=mesh)


def connectors(model):
    places = ("connector", "model.connector", "model.multi_modal_projector")
    found = [dict(model.named_modules()).get(place) for place in places]
    return [module for module in found if module is not None]


def train(name: str, way: str, trains: str, rank: int, world: int, mesh=None) -> dict[str, torch.Tensor]:
    model = mixed_rows.build(name)
    if trains == "connector":
        chosen = {id(p) for module in connectors(model) for p in module.parameters()}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
    joint = Joint(model, NextToken(), lambda: mixed_rows.pixels(name, [(7, 1)])).train()
    runs: nn.Module = joint
    if way == "ddp":
        runs = DistributedDataParallel(joint, find_unused_parameters=False)
    elif way == "fsdp2":
        shard(joint, mesh)
    trained = [parameter for parameter in joint.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=0.1)
    losses = []
    for step, pictures in enumerate(STEPS):
        rows = [(10 * step + place, count) for place, count in enumerate(pictures)]
        share = len(rows) // world
        loss = runs(mixed_rows.batch(name, model, rows[rank * share : (rank + 1) * share]))
        units = len(rows) * mixed_rows.TEXT
        value = loss.sums["next_token"] / units
        (value * world).backward()  # gradients are averaged over processes
        missing = [
            n
            for n, parameter in joint.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]
        assert not missing, f"{name} {way} step {step}: no gradient for {missing}"
        optimizer.step()
        optimizer.zero_grad()
        value = value.detach()
        if world > 1:
            dist.all_reduce(value)
        losses.append(float(value))
    weights = {
        key: (parameter.full_tensor() if way == "fsdp2" else parameter).detach().clone().contiguous()
        for key, parameter in joint.model.named_parameters()
        if parameter.requires_grad
    }
    return {**weights, "losses": torch.tensor(losses)}


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (world,))
    for name in mixed_rows.PICTURES:
        for trains in TRAINS:
            if trains == "connector" and name.startswith("qwen"):
                continue  # its connector lies inside the tower
            for way in ("ddp", "fsdp2"):
                found = train(name, way, trains, rank, world, mesh)
                if rank == 0:
                    save_file(found, folder / f"{name}-{way}-{trains}.safetensors")
                print(name, way, trains, os.getpid(), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Fully sharded weights (FSDP2): each process holds a share of every tensor and gathers a block's while it runs.

As ZeRO does in its third stage (Rajbhandari et al. 2020, arXiv 1910.02054), by torch's ``fully_shard`` (Zhao et al.
2023, arXiv 2304.11277). Sharded are the blocks of tower and language model one by one, and then what is left. Outside a
stage nothing knows of it: a model goes in and comes out whole, with the parameters that it had, and checkpoints hold
whole tensors, so that other processes, or one alone, go on from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.models import anatomy

_BLOCKS = (".layers", ".blocks")


def is_sharded(value: Any) -> bool:
    """Whether a tensor is a share of one."""
    return hasattr(value, "full_tensor")


def whole(value: Tensor) -> Tensor:
    """The whole tensor. On a sharded one every process has to ask."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]


def share_of(value: Tensor, like: Any) -> Tensor:
    """This process's share of a whole tensor, divided as ``like`` is; itself where that is whole. Nothing is sent."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh = like.device_mesh
    return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None)


def whole_state(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's ``state_dict`` with whole tensors, on the CPU. Every process has to ask."""
    each = {
        index: {
            name: whole(value).cpu() if isinstance(value, Tensor) else value for name, value in own.items()
        }
        for index, own in state["state"].items()
    }
    return {**state, "state": each}


def state_shares(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """A whole ``state_dict`` divided as the parameters of ``optimizer`` are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    indices = [index for group in state["param_groups"] for index in group["params"]]
    known = dict(zip(indices, parameters, strict=True))

    def divided(index: int, value: Any) -> Any:
        parameter = known[index]
        same = isinstance(value, Tensor) and value.shape == parameter.shape
        return share_of(value, parameter) if same else value

    each = {
        index: {name: divided(index, value) for name, value in own.items()}
        for index, own in state["state"].items()
    }
    return {**state, "state": each}


class Sharded:
    """A module whose weights are sharded over all processes until :meth:`gather`. Called as itself, never by parts."""

    def __init__(self, module: nn.Module, model: nn.Module, device_type: str) -> None:
        """Shard ``module``, of which ``model`` is the part with an anatomy."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self.module = module
        self._before = [(inner, _traces(inner)) for inner in module.modules()]
        self._parameters = [
            (inner, name, parameter)
            for inner in module.modules()
            for name, parameter in inner._parameters.items()
            if parameter is not None
        ]
        mesh = init_device_mesh(device_type, (torch.distributed.get_world_size(),))
        for block in _blocks(model):
            fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)
        for _, _, parameter in self._parameters:
            parameter.data = parameter.data.new_empty(0)  # the shares are what is kept
        module._is_accelerate_prepared = True  # type: ignore[assignment]  # no data parallelism around it

    def read(self, batch: Any, instead: Callable[[nn.Module, Any], Any]) -> Any:
        """``instead(model, batch)`` with whole weights, without training (:class:`~vitrail.training.joint.Joint`)."""
        try:
            return self.module(batch, instead)
        finally:
            self._reshard()  # without a backward pass what was gathered would stay

    def _reshard(self) -> None:
        from torch.distributed.fsdp import FSDPModule

        for inner in self.module.modules():
            if isinstance(inner, FSDPModule):
                inner.reshard()

    def gather(self) -> None:
        """Make the module whole again, as it was; on all processes."""
        self._reshard()
        done: set[int] = set()
        for inner, name, parameter in self._parameters:
            if id(parameter) not in done:  # tied ones once
                done.add(id(parameter))
                parameter.data = whole(inner._parameters[name].detach())  # type: ignore[union-attr]
                parameter.grad = None
        for inner, name, parameter in self._parameters:
            inner._parameters[name] = parameter
        for inner, traces in self._before:
            _put_back(inner, traces)


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of every part that has some, each once."""
    parts = anatomy.parts(model)
    lists = [part for name, part in parts.items() if name.endswith(_BLOCKS)]
    found = {id(block): block for one in lists for block in one.children()}
    inner = {id(child) for block in found.values() for child in block.modules() if child is not block}
    return [block for key, block in found.items() if key not in inner]


def _traces(module: nn.Module) -> tuple[type, dict[str, Any]]:
    """A module's class, hooks, and the names of its attributes: what sharding adds to."""
    kept = {
        name: value.copy() if name.endswith("hooks") and isinstance(value, dict) else None
        for name, value in vars(module).items()
    }
    return type(module), kept


def _put_back(module: nn.Module, traces: tuple[type, dict[str, Any]]) -> None:
    kind, kept = traces
    module.__class__ = kind
    for name in [name for name in vars(module) if name not in kept]:
        del module.__dict__[name]
    for name, hooks in kept.items():
        if hooks is not None:
            own = vars(module)[name]
            own.clear()
            own.update(hooks)

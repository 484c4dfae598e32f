"""One optimiser a parameter, stepped while the backward pass goes on: no more than one gradient is alive.

As GaLore (Zhao et al. 2024, arXiv 2403.03507) and SLTrain (Han et al. 2024, arXiv 2406.02214) use it: a hook steps a
parameter's own optimiser as soon as its gradient is complete, and frees the gradient. What needs all gradients at once
cannot be had: clipping by the global norm, accumulation over micro-batches, averaging over processes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def refuse_per_layer(*, accumulation: int, max_grad_norm: float | None, world_size: int) -> None:
    """ValueError for what needs every gradient at once."""
    wrong = {
        "accumulation": (accumulation != 1, accumulation, "1"),
        "max_grad_norm": (max_grad_norm is not None, max_grad_norm, "null"),
        "processes": (world_size != 1, world_size, "1"),
    }
    for name, (bad, value, good) in wrong.items():
        if bad:
            raise ValueError(
                f"{name} is {value}, but an optimiser a layer frees each gradient at once; set {name}: {good}, or "
                "use one optimiser for all"
            )


class PerLayerOptimizer(Optimizer):
    """Any torch optimiser, one instance a parameter, stepped in hooks of the backward pass.

    ``groups``: parameter groups, as an optimiser takes them. ``make``: such groups → an optimiser over them. Learning
    rates are read from :attr:`param_groups` at each step, so schedules work as on any optimiser. :meth:`step` and
    :meth:`zero_grad` are there for the training loop and do nothing. One backward pass is one step; :meth:`remove`
    (or forgetting the object) takes the hooks away.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], make: Callable[[list[dict[str, Any]]], Optimizer]
    ) -> None:
        self._each: dict[int, tuple[Optimizer, int]] = {}
        self._order: list[int] = []
        self._handles: list[Any] = []
        groups = [{**group, "params": list(group["params"])} for group in groups]
        first = make([{**group} for group in groups])
        self._kind = type(first).__name__
        super().__init__(first.param_groups, first.defaults)
        me = weakref.ref(self)
        for index, group in enumerate(self.param_groups):
            rest = {name: value for name, value in groups[index].items() if name != "params"}
            for parameter in group["params"]:
                self._each[id(parameter)] = (make([{**rest, "params": [parameter]}]), index)
                self._order.append(id(parameter))
                self._handles.append(parameter.register_post_accumulate_grad_hook(_Hook(me)))

    @torch.no_grad()
    def _arrived(self, parameter: Tensor) -> None:
        own, index = self._each[id(parameter)]
        settings = {name: value for name, value in self.param_groups[index].items() if name != "params"}
        own.param_groups[0].update(settings)
        own.step()
        parameter.grad = None

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing: every parameter was stepped in the backward pass."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nothing: every gradient is freed in the backward pass."""

    def state_dict(self) -> dict[str, Any]:
        """The state of each parameter's optimiser, in their order, and the groups."""
        groups = [
            {name: value for name, value in group.items() if name != "params"} for group in self.param_groups
        ]
        each = [self._each[key][0].state_dict() for key in self._order]
        return {"kind": self._kind, "groups": groups, "each": each}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`. ValueError if it is of another optimiser or of other parameters."""
        if state_dict.get("kind") != self._kind or len(state_dict.get("each", ())) != len(self._order):
            raise ValueError(
                f"this is the state of {len(state_dict.get('each', ()))} {state_dict.get('kind')} optimisers, here "
                f"are {len(self._order)} of {self._kind}; start the stage again, or set the optimizer back"
            )
        for key, kept in zip(self._order, state_dict["each"], strict=True):
            self._each[key][0].load_state_dict(kept)
        for group, kept in zip(self.param_groups, state_dict["groups"], strict=True):
            group.update(kept)

    def state_bytes(self) -> int:
        """Bytes of every tensor that the optimisers keep, step counters left out."""
        states = [one for optimizer, _ in self._each.values() for one in optimizer.state.values()]
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return sum(value.numel() * value.element_size() for value in kept if value.ndim)

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


class _Hook:
    """Steps a parameter as long as the optimiser is there."""

    def __init__(self, optimizer: weakref.ref[PerLayerOptimizer]) -> None:
        self.optimizer = optimizer

    def __call__(self, parameter: Tensor) -> None:
        optimizer = self.optimizer()
        if optimizer is not None:
            optimizer._arrived(parameter)

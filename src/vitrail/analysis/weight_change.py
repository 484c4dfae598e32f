"""How far weights have moved, by groups of layers.

arXiv 2406.14833 explains the stability gap by where a model changes: the mean over weights of |w_t − w_0| / |w_0|, in
the lowest and the highest layers. At the beginning of a new domain the ratio of the two is well above one (above 1.35
there, over five layers each); with the paper's data strategies it stays nearer to one. The paper does not say how it
treats weights near zero; here each parameter counts by its norm, ‖w_t − w_0‖ / ‖w_0‖, and those that begin as zeros are
left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightChange:
    """Remembers a model's decoder layers as they are now (in the type and on the device they have).

    ``layers``: the module list (default: found by anatomy, ``language.layers``). ``ends``: layers of each group.
    ValueError where there are fewer than twice as many.
    """

    def __init__(self, model: nn.Module, *, ends: int = 5, layers: nn.ModuleList | None = None) -> None:
        if layers is None:
            layers = _layers(model)
        if not 1 <= ends <= len(layers) // 2:
            raise ValueError(f"ends is {ends} of {len(layers)} layers; give 1 to {len(layers) // 2}")
        self.ends, self._layers = ends, layers
        self._start: list[Mapping[str, Tensor]] = [
            {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
            for layer in layers
        ]

    @torch.no_grad()
    def by_layer(self) -> list[float]:
        """The mean relative change of each layer's parameters, lowest layer first; 0 where it has not moved."""
        found = []
        for layer, start in zip(self._layers, self._start, strict=True):
            changes = []
            for name, parameter in layer.named_parameters():
                size = float(start[name].float().norm())
                if size > 0:
                    changes.append(float((parameter.float() - start[name].float()).norm()) / size)
            found.append(sum(changes) / max(len(changes), 1))
        return found

    def report(self) -> dict[str, float]:
        """``bottom``, ``top`` (means over ``ends`` layers) and their ``ratio`` (1 where nothing has moved)."""
        layers = self.by_layer()
        bottom, top = sum(layers[: self.ends]) / self.ends, sum(layers[-self.ends :]) / self.ends
        ratio = 1.0 if bottom == top else float("inf") if top == 0 else bottom / top
        return {"bottom": bottom, "top": top, "ratio": ratio}


def _layers(model: nn.Module) -> nn.ModuleList:
    from vitrail.models import anatomy

    parts = anatomy.parts(model)
    found = parts.get("language.layers")
    if not isinstance(found, nn.ModuleList):
        raise ValueError(
            f"{type(model).__name__} has no language.layers; give its decoder layers as 'layers'"
        )
    return found


def all_but(layers: int, *, top: int = 0, bottom: int = 0) -> str:
    """The part to train (for a stage's ``trains``) so that the ``top`` or ``bottom`` layers stay as they are.

    ValueError where nothing is left.
    """
    if min(top, bottom) < 0 or top + bottom >= layers:
        raise ValueError(
            f"top={top} and bottom={bottom} of {layers} layers leave nothing to train; freeze fewer"
        )
    return f"language.layers[{bottom}:{layers - top}]"

"""A model as it was when its stage began, beside what it has become.

Only the weights that train are kept twice (of LoRA, the adapters alone), and one forward is made with the old ones in
their places. That is a frozen reference without a second model in memory, and it goes through the same hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vitrail.models.logits import unwrapped
from vitrail.objectives.forward import Batch, Needs, Seen, look


class Start:
    """The weights of ``model`` at this moment.

    Take it before the first step, and in a stage that goes on before its checkpoint is put back: what the model was
    built or loaded with is what the stage began with.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights: dict[str, Tensor] = {
            name: parameter.detach().clone()
            for name, parameter in unwrapped(model).named_parameters()
            if parameter.is_floating_point() and parameter.device.type != "meta"
        }
        self._thinned = False

    def look(self, model: nn.Module, batch: Batch, needs: Needs) -> Seen:
        """What the model gave then on ``batch``: in evaluation mode, without gradients."""
        inner = unwrapped(model)
        with torch.no_grad(), self._standing(inner), _evaluating(inner):
            return look(inner, batch, needs)

    @contextmanager
    def _standing(self, model: nn.Module) -> Iterator[None]:
        parameters = dict(model.named_parameters())
        if not self._thinned:  # what trains is known by now; the rest is as it was
            trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
            self._weights = {name: value for name, value in self._weights.items() if name in trained}
            self._thinned = True
        now: dict[str, Tensor] = {}
        try:
            for name, value in self._weights.items():
                parameter = parameters[name]
                if hasattr(parameter, "placements"):
                    raise ValueError(
                        "the weights are spread over several devices; store the reference with the records "
                        "(stored: true) or name a teacher"
                    )
                if value.device != parameter.device or value.dtype != parameter.dtype:
                    value = value.to(parameter.device, parameter.dtype)
                    self._weights[name] = value
                now[name] = parameter.data
                parameter.data = value
            yield
        finally:
            for name, value in now.items():
                parameters[name].data = value


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode is put back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True

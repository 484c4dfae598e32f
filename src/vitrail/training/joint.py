"""Model and objective as one module, so that wrappers (data parallelism, autocast) see both."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitrail.objectives.objective import Batch, Loss, Objective


class Joint(nn.Module):
    """``forward(batch)`` is the objective on the model. The objective's own parameters are clipped and
    synchronised together with the model's.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    @property
    def config(self) -> Any:
        """The model's configuration, where it has one."""
        return getattr(self.model, "config", None)

    def forward(self, batch: Batch) -> Loss:
        """Sums and counts of a micro-batch."""
        return self.objective(self.model, batch)

    def train(self, mode: bool = True) -> Joint:
        """As usual, but the running statistics of batch norms that do not train stay as they are."""
        super().train(mode)
        if mode:
            for module in self.model.modules():
                own = list(module.parameters(recurse=False))
                if isinstance(module, _BatchNorm) and not any(parameter.requires_grad for parameter in own):
                    module.eval()
        return self

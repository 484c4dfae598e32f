"""Model and objective as one module, so that wrappers (data parallelism, autocast) see both."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitrail.objectives.isolation import isolated
from vitrail.objectives.objective import Batch, Objective
from vitrail.training.mixed import Pictures, every_part


class Joint(nn.Module):
    """``forward(batch)`` is the objective on the model. The objective's own parameters are clipped and
    synchronised together with the model's. ``example`` gives one picture for batches without any
    (:mod:`vitrail.training.mixed`).
    """

    def __init__(
        self, model: nn.Module, objective: Objective, example: Callable[[], Pictures] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self._make_example = example

    @property
    def config(self) -> Any:
        """The model's configuration, where it has one."""
        return getattr(self.model, "config", None)

    def forward(self, batch: Batch, instead: Callable[[nn.Module, Batch], Any] | None = None) -> Any:
        """Sums and counts of a micro-batch (a :class:`~vitrail.objectives.objective.Loss`); records that share a row do
        not see each other. ``instead``: what is called with model and batch in the objective's place; sharded weights
        are there inside this call alone.
        """
        with isolated(self.model, batch):
            if instead is not None:
                return instead(self.model, batch)
            if not self.training:
                return self.objective(self.model, batch)
            with every_part(self.model, batch, lambda: self._example):
                return self.objective(self.model, batch)

    @cached_property
    def _example(self) -> Pictures:
        return {} if self._make_example is None else self._make_example()

    def train(self, mode: bool = True) -> Joint:
        """As usual, but the running statistics of batch norms that do not train stay as they are."""
        super().train(mode)
        if mode:
            for module in self.model.modules():
                own = list(module.parameters(recurse=False))
                if isinstance(module, _BatchNorm) and not any(parameter.requires_grad for parameter in own):
                    module.eval()
        return self

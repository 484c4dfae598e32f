"""The surgery *reinitialise*: a part of a ready model begins anew.

Ovis (arXiv 2405.20797) draws the last block of its vision tower again before it trains it with the fresh visual
vocabulary: what that block learnt served another head. Blocks are drawn by the model's own rule, so that they begin as
they would in a model from scratch.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from vitrail.models.surgery.surgery import Surgery
from vitrail.models.towers.tower import ComponentConfig


class Reinitialise(Surgery):
    """Draw the weights of some parts anew; nothing about the model's shape changes."""

    class Config(ComponentConfig):
        """``parts``: which, by anatomy: ``("tower.blocks[-1:]",)``."""

        parts: tuple[str, ...] = Field(default=("tower.blocks[-1:]",), min_length=1)

    def check(self, model: nn.Module) -> None:
        """ValueError for a part that is not there."""
        from vitrail.models.anatomy import part

        for name in self.config.parts:
            part(model, name)

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Draw the parts, in the order in which they are named. Nothing needs to be recorded.

        ValueError for a part with weights that neither the model nor the module has a rule for.
        """
        from vitrail.models.anatomy import part

        for name in self.config.parts:
            module = part(model, name)
            before = {
                key: value.detach().clone()
                for key, value in module.named_parameters()
                if value.ndim > 1 and not _zero(value)
            }
            for one in (*module.modules(), *module.parameters()):
                # transformers leaves alone what it marked as loaded.
                one.__dict__.pop("_is_hf_initialized", None)
            for inner in reversed(
                list(module.modules())
            ):  # a rule for a block has the last word on its layers
                _draw(model, inner)
            left = [
                key for key, value in module.named_parameters() if key in before and _same(value, before[key])
            ]
            if left:
                raise ValueError(
                    f"{name} has no rule that draws {left[0]!r} anew; name parts of it that have one"
                )
        return {}

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Nothing: the shapes are those of the model, and the weights are saved."""


def _zero(value: Tensor) -> bool:
    """Whether it is as some begin: drawn anew it may be the same."""
    return value.device.type != "meta" and not bool(value.any())


def _same(value: Tensor, before: Tensor) -> bool:
    return value.device.type != "meta" and torch.equal(value, before)


def _draw(model: nn.Module, module: nn.Module) -> None:
    """By the rule of the innermost model of transformers around a module; by the module's own where there is none."""
    around = [one for one in model.modules() if hasattr(one, "_init_weights") and _inside(one, module)]
    owners = [one for one in around if not type(one).__module__.startswith("vitrail.")]
    if owners:
        owners[-1]._init_weights(module)  # type: ignore[operator]
    elif hasattr(module, "reset_parameters"):
        module.reset_parameters()  # type: ignore[operator]


def _inside(owner: nn.Module, module: nn.Module) -> bool:
    return any(one is module for one in owner.modules())

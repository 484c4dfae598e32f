"""Activations that are computed again in the backward pass instead of being kept, block by block (Chen et al. 2016).

The blocks are those of transformers that offer it, named by anatomy, so that a stage can spend its time where the
memory is: in the language model's layers, the tower's blocks, or some of either.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from vitrail.models import anatomy
from vitrail.models.logits import unwrapped
from vitrail.models.surgery import operating
from vitrail.registry import nearest


def checkpoint_activations(model: nn.Module, asked: bool | tuple[str, ...]) -> int:
    """Checkpoint all blocks of ``model`` (True), those of some parts by anatomy, or none; returns how many.

    What an earlier stage asked for is undone. ValueError for a model that offers none, a part that it does not have, a
    part without such blocks, or a surgery that breaks it.
    """
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.gradient_checkpointing = False  # type: ignore[assignment]
    if not asked:
        return 0
    inner: Any = unwrapped(model)
    operating.refuse_broken(inner.config, "checkpointing", "gradient_checkpointing")
    chosen = None if isinstance(asked, bool) else _blocks(inner, asked)
    enable = next(
        (
            getattr(inner, name)
            for name in (
                "activation_checkpointing_enable",
                "gradient_checkpointing_enable",
            )  # renamed in 5.2x
            if hasattr(inner, name)
        ),
        None,
    )
    if enable is None:
        raise ValueError(f"gradient_checkpointing: {type(inner).__name__} does not offer it; set it to false")
    enable()
    if chosen is not None:
        for module in model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.gradient_checkpointing = id(module) in chosen
    return sum(
        isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing
        for module in model.modules()
    )


def _blocks(model: nn.Module, names: tuple[str, ...]) -> set[int]:
    """The blocks of the named parts, by identity."""
    parts, chosen = anatomy.parts(model), set()
    for name in names:
        part = anatomy.find(parts, name)
        if part is None:
            raise ValueError(
                f"gradient_checkpointing names {name!r}, a part that this model does not have; "
                f"{nearest(name, sorted(parts))}"
            )
        found = {id(module) for module in part.modules() if isinstance(module, GradientCheckpointingLayer)}
        if not found:
            raise ValueError(
                f"gradient_checkpointing: {name!r} holds no block that can be computed again; name a part with blocks "
                "(language.layers, tower.blocks), or leave it out"
            )
        chosen |= found
    return chosen

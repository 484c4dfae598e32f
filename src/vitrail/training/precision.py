"""float32 or bfloat16: what the device has units for.

Nothing is timed: on a busy machine a measurement would come out differently from one start to the next, and the
precision is part of what a run computes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

NARROW = 512
"""Matrix products of models below this width gain nothing from bfloat16 on a CPU."""

PrecisionName = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Precision:
    """The choice and why."""

    name: PrecisionName
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def choose(wanted: str, model: nn.Module, device: torch.device) -> Precision:
    """The precision of a stage's matrix products; ``"auto"`` is bfloat16 where the device multiplies it faster.

    That is an accelerator with bfloat16 units, or a CPU with AMX and a model of at least :data:`NARROW` in width.
    ValueError if the weights' own type does not go with what is wanted.
    """
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    if own in (torch.bfloat16, torch.float16):
        name = str(own).removeprefix("torch.")
        if wanted == "float32" or own == torch.float16:
            raise ValueError(
                f"precision is {wanted!r}, but the model's weights are {name}; load them in float32, "
                "or in bfloat16 with precision 'auto' or 'bfloat16'"
            )
        return Precision("bfloat16", "the weights are bfloat16")
    if wanted in ("float32", "bfloat16"):
        return Precision(wanted, "as asked for")  # type: ignore[arg-type]
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return (
            Precision("bfloat16", "the accelerator has units for it")
            if able
            else Precision("float32", "the accelerator has no units for bfloat16")
        )
    if device.type != "cpu":
        return Precision("float32", f"bfloat16 is not tried on {device.type}")
    if not has_matrix_units():
        return Precision("float32", "this CPU has no matrix units (AMX) for bfloat16")
    width = _width(model)
    if width < NARROW:
        return Precision("float32", f"a model of width {width} gains nothing from bfloat16")
    return Precision("bfloat16", "this CPU has matrix units (AMX) for it")


def has_matrix_units() -> bool:
    """Whether the CPU multiplies bfloat16 tiles (AMX); False where torch cannot tell."""
    tell = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(tell()) if tell is not None else False


def _width(model: nn.Module) -> int:
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(getattr(text, "hidden_size", None) or 512)

"""float32 or bfloat16: what is faster on this machine, measured."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

FASTER = 1.2
"""How much faster bfloat16 must be to be chosen: it costs digits."""

PrecisionName = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Precision:
    """The choice and why. Rates are of one matrix product at the model's width, None where not measured."""

    name: PrecisionName
    reason: str
    float32_gflops: float | None = None
    bfloat16_gflops: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def choose(wanted: str, model: nn.Module, device: torch.device) -> Precision:
    """The precision of a stage's matrix products; ``"auto"`` measures both.

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
    if device.type not in ("cpu", "cuda"):
        return Precision("float32", f"bfloat16 is not tried on {device.type}")
    width = _width(model)
    full, half = gflops(width, torch.float32, device), gflops(width, torch.bfloat16, device)
    reason = f"bfloat16 is {half / full:.2f} times as fast as float32 at width {width}"
    return Precision(
        "bfloat16" if half > FASTER * full else "float32", reason, round(full, 1), round(half, 1)
    )


def _width(model: nn.Module) -> int:
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(getattr(text, "hidden_size", None) or 512)


def gflops(width: int, dtype: torch.dtype, device: torch.device, rows: int = 512, repeats: int = 5) -> float:
    """Best rate of ``(rows, width) @ (width, 4 width)``, in 10⁹ operations a second."""
    generator = torch.Generator().manual_seed(0)  # the global one is the trajectory's
    left = torch.randn(rows, width, generator=generator).to(device, dtype)
    right = torch.randn(width, 4 * width, generator=generator).to(device, dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return 2.0 * rows * width * 4 * width / best / 1e9

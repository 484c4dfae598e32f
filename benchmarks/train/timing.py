"""Seconds of every optimiser step and the peak of resident memory, alike in every trainer. Imports no vitrail."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import transformers


class Timer(transformers.TrainerCallback):
    """Notes when each optimiser step ended, and the loss that the trainer logs."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The clock starts."""
        self.ends = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One more step."""
        self.ends.append(time.perf_counter())

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Keep the loss."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


def arguments() -> argparse.ArgumentParser:
    """What every trainer is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write(path: Path, seconds: list[float], losses: list[float], **more: Any) -> None:
    """The result of one trainer as JSON."""
    result = {"seconds": seconds, "losses": losses, "peak_bytes": peak_bytes(), **more}
    path.write_text(json.dumps(result))


def differences(ends: list[float]) -> list[float]:
    """From moments to durations."""
    return [after - before for before, after in pairwise(ends)]

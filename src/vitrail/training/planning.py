"""How many steps a stage makes: fixed before the first, written down, never measured again.

A budget in minutes becomes a number of steps by running some of them for real and putting everything back, so
that the trajectory is that of a run which was given that number. What is put back: parameters, buffers, and
the states of all random generators.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vitrail.storage import atomic
from vitrail.training.sampling import step_batches
from vitrail.training.stages import StageConfig

RESERVE = 0.05
"""Share of a time budget kept for checkpoints and for starting."""
TIMED_STEPS = 4
"""Steps of different lengths that are measured."""


@dataclass(frozen=True)
class StagePlan:
    """What a stage is going to do.

    ``steps`` optimiser steps of ``records_a_step`` (all processes), chosen ``by`` the budget that is
    shortest; ``seconds_a_step`` as measured at best, None where no time budget asked for it, and on average
    ``usual_seconds_a_step``. ``busy``: equal steps took more than 1.5 times their best.
    """

    steps: int
    by: str
    records: int
    records_a_step: int
    epochs: float
    seconds_a_step: float | None
    expected_seconds: float | None
    precision: str
    precision_reason: str
    device: str
    threads: int
    processes: int
    trained_parameters: int
    parameters: int
    frozen_weights: str
    busy: bool = False
    usual_seconds_a_step: float | None = None

    def write(self, path: Path) -> None:
        """Write the plan, atomically."""
        atomic.write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> StagePlan | None:
        """The plan at ``path``, or None. ValueError for a file that is none."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            values = json.loads(text)
            return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no stage plan ({error!r}); remove the stage's folder to start again"
            ) from None


def choose_steps(
    config: StageConfig, records: int, processes: int, seconds_a_step: float | None, spent: float = 0.0
) -> tuple[int, str]:
    """The shortest of the budgets, in steps, and its name. ``spent``: seconds of the time budget already
    gone.

    ValueError if a time budget is too short for one step, or warm-up does not fit.
    """
    size = config.records_a_step * processes
    limits: dict[str, int] = {}
    if config.max_steps is not None:
        limits["max_steps"] = config.max_steps
    if config.epochs is not None:
        limits["epochs"] = max(1, math.ceil(config.epochs * records / size - 1e-9))
    if config.max_minutes is not None:
        assert seconds_a_step is not None
        left = 60 * config.max_minutes * (1 - RESERVE) - spent
        limits["max_minutes"] = int(left / seconds_a_step)
        if limits["max_minutes"] < 1:
            raise ValueError(
                f"stage {config.name!r}: max_minutes={config.max_minutes:g} is too short: one step takes "
                f"{seconds_a_step:.2f} s and measuring took {spent:.1f} s; give more, or smaller batches"
            )
    by = min(limits, key=lambda name: limits[name])
    config.warmup_steps(limits[by])
    return limits[by], by


def batches_to_time(count: int, size: int, seed: int, lengths: Sequence[int] | None) -> list[np.ndarray]:
    """Steps to run for a measurement: one to warm up, then :data:`TIMED_STEPS` spread over the lengths that
    occur."""
    seen = list(islice(step_batches(count, size, seed, lengths), max(1, min(64, count // size))))
    if lengths is not None:
        seen.sort(key=lambda step: int(max(lengths[index] for index in step)))
    places = [int((place + 0.5) * len(seen) / TIMED_STEPS) for place in range(TIMED_STEPS)]
    return [seen[len(seen) // 2], *(seen[place] for place in places)]


@contextmanager
def putting_back(module: nn.Module) -> Iterator[None]:
    """Whatever happens inside, parameters, buffers, modes and random states are afterwards as they were
    before."""
    with torch.no_grad():
        tensors = [p for p in module.parameters() if p.requires_grad] + list(module.buffers())
        copies = [tensor.detach().clone() for tensor in tensors]
    modes = [(inner, inner.training) for inner in module.modules()]
    states = (random.getstate(), np.random.get_state(), torch.random.get_rng_state())
    devices = torch.cuda.random.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.copy_(copy)
        for inner, mode in modes:
            inner.training = mode
        for parameter in module.parameters():
            parameter.grad = None
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.random.set_rng_state_all(devices)


def frozen_fingerprint(model: nn.Module, trained: Any) -> str:
    """A hash of names, shapes and a sample of values of the parameters not in ``trained``.

    A resumed stage compares it: trained weights come from the checkpoint, frozen ones from the caller.
    """
    import hashlib

    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if name in trained:
            continue
        flat = parameter.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 1024)].float().cpu().numpy()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype} ".encode())
        digest.update(sample.tobytes())
    return digest.hexdigest()[:16]

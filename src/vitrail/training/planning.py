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
from vitrail.training.packing import Row, epoch_rows, fill_of, padded_fill, rows_of_epochs
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

    ``fill``: real tokens of all tokens in the batches of the first epoch, the rest being padding; None where lengths
    are not known. With packing ``rows`` are those of the first epoch, ``rows_a_step`` of an optimiser step (whose
    records are then a mean), and ``fill_histogram`` counts rows by tenths of their length.
    """

    steps: int
    by: str
    records: int
    records_a_step: float
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
    fill: float | None = None
    rows: int | None = None
    rows_a_step: int | None = None
    fill_histogram: tuple[int, ...] = ()

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
            found = {field.name: values[field.name] for field in fields(cls) if field.name in values}
            return cls(**found | {"fill_histogram": tuple(found.get("fill_histogram", ()))})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no stage plan ({error!r}); remove the stage's folder to start again"
            ) from None


def choose_steps(
    config: StageConfig,
    records: int,
    processes: int,
    seconds_a_step: float | None,
    spent: float = 0.0,
    rows: float | None = None,
) -> tuple[int, str]:
    """The shortest of the budgets, in steps, and its name. ``spent``: seconds of the time budget already
    gone. ``rows``: with packing, how many the wanted epochs have.

    ValueError if a time budget is too short for one step, or warm-up does not fit.
    """
    size = config.records_a_step * processes
    limits: dict[str, int] = {}
    if config.max_steps is not None:
        limits["max_steps"] = config.max_steps
    if config.epochs is not None:
        wanted = config.epochs * records if rows is None else rows
        limits["epochs"] = max(1, math.ceil(wanted / size - 1e-9))
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
    config.require_fits(limits[by])
    return limits[by], by


def batches_to_time(count: int, size: int, seed: int, lengths: Sequence[int] | None) -> list[np.ndarray]:
    """Steps to run for a measurement: one to warm up, then :data:`TIMED_STEPS` spread over the lengths that
    occur."""
    seen = list(islice(step_batches(count, size, seed, lengths), max(1, min(64, count // size))))
    if lengths is not None:
        seen.sort(key=lambda step: int(max(lengths[index] for index in step)))
    return spread(seen)


def spread(seen: Sequence[Any]) -> list[Any]:
    """Of steps in rising order of cost the middle one, and :data:`TIMED_STEPS` spread over them."""
    places = [int((place + 0.5) * len(seen) / TIMED_STEPS) for place in range(TIMED_STEPS)]
    return [seen[len(seen) // 2], *(seen[place] for place in places)]


def rows_to_time(steps: Iterator[list[Row]], rows: int, lengths: Sequence[int]) -> list[list[Row]]:
    """The same of packed steps, of up to ``rows`` rows; a step costs what its longest row does."""
    first = next(steps)
    seen = [first, *islice(steps, max(0, min(64, rows // len(first)) - 1))]
    seen.sort(key=lambda step: max(sum(lengths[number] for number in row) for row in step))
    return spread(seen)


def filling(
    config: StageConfig, records: int, lengths: Sequence[int] | None, processes: int, seed: int
) -> dict[str, Any]:
    """What a plan says of how the data fills batches: ``records_a_step``, ``fill`` and, with packing, of its rows."""
    size = config.records_a_step * processes
    if lengths is None:
        return {"records_a_step": size}
    if config.packing is None:
        steps = islice(step_batches(records, size, seed, lengths), max(1, records // size))
        found = padded_fill(steps, lengths, config.accumulation, processes)
        return {"records_a_step": size, "fill": round(found.share, 4)}
    found = fill_of(epoch_rows(lengths, config.packing, seed, 0), lengths, config.packing)
    return {
        "records_a_step": round(found.records / found.rows * size, 2),
        "fill": round(found.share, 4),
        "rows": found.rows,
        "rows_a_step": size,
        "fill_histogram": found.histogram,
    }


def rows_wanted(config: StageConfig, lengths: Sequence[int] | None, seed: int) -> float | None:
    """With packing, the rows of the epochs that are asked for; else None."""
    if config.packing is None or config.epochs is None or lengths is None:
        return None
    return rows_of_epochs(lengths, config.packing, seed, config.epochs)


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

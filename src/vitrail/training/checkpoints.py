"""Checkpoints that are whole or not there.

A checkpoint is filled under a hidden name and renamed into place. Its ``complete.json``, written last, lists
every file with its size; a checkpoint whose files do not match is never read, the one before it is. Nothing
is unpickled: weights are safetensors, the rest is read with ``weights_only=True``.

::

    trained.safetensors    trained parameters, and the persistent buffers beside them
    objective.safetensors  the objective's parameters and buffers, where it has some
    optimizer.pt  scheduler.pt  rng_state*.pth  trainer_state.json
    progress.json          step, records and tokens seen, seconds spent
    complete.json          {"files": {name: bytes}}
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitrail.storage import atomic
from vitrail.training.selection import Selection
from vitrail.training.sharding import share_of, whole

COMPLETE = "complete.json"
REQUIRED = ("trained.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json", "progress.json")
_NAME = re.compile(r"checkpoint-(\d+)$")


class DamagedCheckpoint(ValueError):
    """Checkpoints are there, but none of them is whole."""


def seal(folder: Path) -> None:
    """Write ``complete.json`` into a filled checkpoint. ValueError if a file is missing."""
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    missing = [name for name in REQUIRED if name not in sizes]
    if missing:
        raise ValueError(f"a checkpoint without {missing[0]} cannot be resumed from")
    atomic.write_json(folder / COMPLETE, {"files": sizes})


def fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if it is whole."""
    try:
        listed: dict[str, int] = json.loads((folder / COMPLETE).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{COMPLETE} is missing or unreadable"
    for name in REQUIRED:
        if name not in listed:
            return f"{name} is not among its files"
    for name, size in listed.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
    return None


def step_of(folder: Path) -> int:
    """The optimiser step a checkpoint was taken after."""
    match = _NAME.search(folder.name)
    if match is None:
        raise ValueError(f"{folder} is no checkpoint: its name is not checkpoint-<step>")
    return int(match[1])


def existing(folder: Path) -> list[Path]:
    """Every checkpoint under ``folder``, whole or not, oldest first."""
    found = [path for path in Path(folder).glob("checkpoint-*") if path.is_dir() and _NAME.search(path.name)]
    return sorted(found, key=step_of)


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint (None if there is none at all), and a sentence for each newer damaged one.

    :class:`DamagedCheckpoint` if there are checkpoints and none is whole.
    """
    notes: list[str] = []
    for path in reversed(existing(folder)):
        wrong = fault(path)
        if wrong is None:
            return path, notes
        notes.append(f"{path.name} is damaged ({wrong}) and left aside")
    if notes:
        raise DamagedCheckpoint(
            f"{folder}: {'; '.join(notes)}; no whole checkpoint is left. "
            "Restore one, or remove these folders to start the stage again."
        )
    return None, notes


def remove(path: Path) -> None:
    """Remove a checkpoint so that a kill half-way leaves nothing that looks like one."""
    hidden = path.with_name(f".partial-removed-{path.name}-{os.getpid()}")
    os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints."""
    for path in existing(folder)[: max(0, len(existing(folder)) - keep)]:
        remove(path)


def trained_state(model: nn.Module, selection: Selection) -> dict[str, Tensor]:
    """The trained parameters by name, and the persistent buffers of modules that train, whole and on the CPU.

    Where weights are sharded every process has to ask.
    """
    state = _trained(model, selection)
    return {name: whole(value.detach()).cpu().contiguous() for name, value in state.items()}


def _trained(model: nn.Module, selection: Selection) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {
        name: parameter for name, parameter in model.named_parameters() if name in selection.parameters
    }
    whole = {id(module) for name, module in selection.modules.items() if not name.endswith(".lora")}
    owners = {prefix for prefix, module in model.named_modules() if id(module) in whole}
    lasting = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name in lasting and any(not owner or name.startswith(f"{owner}.") for owner in owners):
            state[name] = buffer
    return state


def objective_state(objective: nn.Module) -> dict[str, Tensor]:
    """The objective's parameters and persistent buffers, on the CPU."""
    return {name: whole(value.detach()).cpu().contiguous() for name, value in objective.state_dict().items()}


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    save_file(dict(tensors), temporary)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    atomic.sync_folder(path.parent)


@torch.no_grad()
def load_tensors(path: Path, into: Mapping[str, Tensor], what: str) -> None:
    """Copy the tensors of a file into those of ``into``, in place. ValueError unless names and shapes are
    equal."""
    stored = load_file(path)
    different = sorted(stored.keys() ^ into.keys())
    if different:
        side = "the file only" if different[0] in stored else "the model only"
        raise ValueError(
            f"{path} holds other tensors than {what}: {different[0]!r} ({len(different)} in all) "
            f"is in {side}. The stage was begun with another model or 'trains'; use that, or another folder."
        )
    for name, value in stored.items():
        if value.shape != into[name].shape:
            raise ValueError(f"{path}: {name} is {tuple(value.shape)}, {tuple(into[name].shape)} in {what}")
        into[name].copy_(share_of(value, into[name]))


def load_trained(path: Path, model: nn.Module, selection: Selection) -> None:
    """Put stored trained parameters and buffers back into ``model``."""
    wanted = list(_trained(model, selection))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    load_tensors(path, {name: tensors[name] for name in wanted}, "the model's trained part")


def load_objective(path: Path, objective: nn.Module) -> None:
    """Put stored parameters and buffers back into ``objective``, where it has any."""
    state: dict[str, Any] = objective.state_dict(keep_vars=True)
    if state or path.exists():
        load_tensors(path, state, "the objective")

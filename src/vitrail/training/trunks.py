"""Going on from the end of another stage: its weights, its optimizer's state, and its place on the schedule.

A stage that others continue, the *trunk*, leaves ``state/`` in its folder. A stage that continues it first puts the
trunk's weights back, so that what ran in between (a branch that was annealed for a deployable model) leaves no trace:
two stages that continue one trunk do not know of each other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from vitrail.storage import atomic
from vitrail.training import checkpoints
from vitrail.training.selection import Selection

STATE = "state"
_FILES = ("optimizer.pt", "scheduler.pt")


def keep(trainer: Any) -> None:
    """Leave optimizer and scheduler in the stage's folder, at its end."""
    place = trainer.folder / STATE
    state = trainer.optimizer_state()
    if trainer.is_world_process_zero():
        if place.exists():  # killed between this and the stage's result
            shutil.rmtree(place)
        with atomic.new_folder(place) as folder:
            torch.save(state, folder / "optimizer.pt")
            torch.save(trainer.lr_scheduler.state_dict(), folder / "scheduler.pt")
    trainer.accelerator.wait_for_everyone()


def forget(folder: Path) -> None:
    """Remove what :func:`keep` left, where no other stage will need it."""
    shutil.rmtree(Path(folder) / STATE, ignore_errors=True)


def put_back(trunk: Path, joint: Any, selection: Selection) -> None:
    """The weights at the end of ``trunk``. ValueError if it is not finished, or trained other parameters."""
    missing = [name for name in _FILES if not (trunk / STATE / name).is_file()]
    if missing or not (trunk / "done.json").exists():
        what = f"{STATE}/{missing[0]}" if missing else "done.json"
        raise ValueError(
            f"{trunk} has no {what}, so that no stage can go on from it; remove this folder to run it again"
        )
    checkpoints.load_trained(trunk / "final.safetensors", joint.model, selection)
    checkpoints.load_objective(trunk / "objective.safetensors", joint.objective)


def go_on(trainer: Any, trunk: Path) -> None:
    """Give a trainer that is about to begin the trunk's optimizer, and its place on a schedule without an end.

    Any other schedule begins again; only the optimizer's moments go on.
    """
    optimizer, scheduler = trainer.optimizer, trainer.lr_scheduler
    rates = [(group["lr"], group.get("initial_lr")) for group in optimizer.param_groups]
    trainer.load_optimizer_state(trunk / STATE / "optimizer.pt")
    for group, (rate, initial) in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
        if initial is not None:
            group["initial_lr"] = initial
    schedule = trainer.config.made_schedule
    if schedule is not None and schedule.open_ended:
        scheduler.load_state_dict(_read(trunk / STATE / "scheduler.pt"))
        schedule.goes_on(scheduler, trainer.args.max_steps)


def _read(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)

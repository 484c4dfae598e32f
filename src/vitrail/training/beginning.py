"""A stage's folder at its start: ``stage.json`` says what the stage is, and another one is refused there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vitrail.storage import atomic
from vitrail.training import processes
from vitrail.training.stages import StageConfig


def begin(folder: Path, config: StageConfig, seed: int, records: int, fingerprint: str | None) -> None:
    """Make the folder, clean up behind a killed process, and refuse another stage's folder with a ValueError.

    ``records``: how many there are; ``fingerprint``: of the data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if processes.is_first():
        atomic.sweep(folder)
    here = {"config": config.identity(), "seed": seed, "records": records, "data": fingerprint}
    path = folder / "stage.json"
    if not path.exists():
        others = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
        if others:
            raise ValueError(
                f"{folder} holds {sorted(others)[0]!r} but no stage.json; choose an empty or a new folder"
            )
        atomic.write_json(path, here)
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    here = json.loads(json.dumps(here))
    begun = _as_now(there["config"])
    for name in here["config"].keys() | begun.keys():
        _same(folder, name, begun.get(name), here["config"].get(name))
    for name in ("seed", "records", "data"):
        _same(folder, name, there[name], here[name])


def _as_now(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored stage as it is read today: a field that was not there when it was written has its default."""
    try:
        return dict(json.loads(json.dumps(StageConfig.model_validate(stored).identity())))
    except ValueError:
        return stored


def _same(folder: Path, name: str, there: Any, here: Any) -> None:
    if there != here:
        raise ValueError(
            f"{folder} was begun with {name}={there!r}, now it is {here!r}; set it back to go on, "
            "choose another folder, or remove this one to start again"
        )

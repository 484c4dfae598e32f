"""A run's folder: everything that a recipe produced, in fixed places.

::

    recipe.yaml        the resolved recipe; written first, never changed
    plan.json          what was going to be done, and how long it would take
    environment.json   machine and versions of the first start
    starts.jsonl       one row a start: when, and on which environment
    stages/<name>/     one folder a training stage
    rounds/<number>/   one folder a round of a loop, its training in run/
    evaluation/<task>/ answers and scores
    model/             the trained model
    report.html

A run is written by one process at a time, and continued only with the recipe it was begun with.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vitrail.storage import atomic
from vitrail.storage.environment import describe
from vitrail.storage.lock import FileLock
from vitrail.storage.log import JsonlLog

Reader = Callable[[dict[str, Any]], Mapping[str, Any]]
"""A stored recipe → the same as it is read today."""
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


class RecipeDiffers(ValueError):
    """A run was asked to continue with another recipe. ``differences`` are ``(field, there, here)``."""

    def __init__(self, path: Path, differences: list[tuple[str, Any, Any]]):
        self.differences = differences
        lines = [
            f"  {field}: {_shown(there)} in the run, {_shown(here)} now"
            for field, there, here in differences[:10]
        ]
        more = [f"  and {len(differences) - 10} more"] if len(differences) > 10 else []
        remedy = (
            "Choose another folder, set these fields back to continue the run, or remove it to start again."
        )
        super().__init__("\n".join([f"{path} was begun with another recipe:", *lines, *more, remedy]))


class RunFolder:
    """The run at ``path``, for reading; inside ``with run.writing(recipe):`` also for writing."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._lock = FileLock(self.path / ".lock", f"the run {self.path}")

    recipe_path = property(lambda self: self.path / "recipe.yaml", doc="The resolved recipe.")
    plan_path = property(lambda self: self.path / "plan.json", doc="The plan made before the first step.")
    environment_path = property(
        lambda self: self.path / "environment.json", doc="The first start's environment."
    )
    starts_path = property(lambda self: self.path / "starts.jsonl", doc="One row for each start.")
    model_path = property(lambda self: self.path / "model", doc="The trained model.")
    report_path = property(lambda self: self.path / "report.html", doc="The report.")

    def stage(self, name: str) -> Path:
        """The folder of a training stage. ValueError for a name that is no plain file name."""
        return self.path / "stages" / _checked(name, "stage")

    def stage_folders(self, name: str) -> list[Path]:
        """Every folder of a training stage: the run's own, or those of a loop's rounds, in order."""
        rounds = self.path / "rounds"
        places = [self.path, *(rounds / one / "run" for one in ("start", *self._rounds()))]
        found = [place / "stages" / _checked(name, "stage") for place in places]
        return [one for one in found if one.is_dir()] or found[:1]

    def _rounds(self) -> list[str]:
        return sorted(one.name for one in (self.path / "rounds").glob("[0-9]*"))

    def evaluation(self, task: str) -> Path:
        """The folder of an evaluation task."""
        return self.path / "evaluation" / _checked(task, "task")

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe_path.exists()

    def recipe(self) -> dict[str, Any]:
        """The recipe the run was begun with. ValueError when there is no run here."""
        return dict(yaml.safe_load(self._read(self.recipe_path)))

    def plan(self) -> dict[str, Any] | None:
        """The plan, once it is made."""
        return json.loads(self._read(self.plan_path)) if self.plan_path.exists() else None

    def environment(self) -> dict[str, Any]:
        """The environment of the first start."""
        return dict(json.loads(self._read(self.environment_path)))

    def starts(self) -> list[dict[str, Any]]:
        """Every start of the run: ``at`` (UTC), ``fingerprint``, ``commit``, and whether it ``resumed``."""
        return JsonlLog(self.starts_path).read()

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ValueError(f"{self.path} is not a run: it has no {path.name}.") from None

    def writing(self, recipe: Mapping[str, Any], read: Reader | None = None) -> Writing:
        """Begin the run, or continue it when it was begun with an equal ``recipe`` (plain JSON values).

        A context manager that holds the run's lock and gives this folder. ``read`` makes of a stored recipe what it
        means now, so that one that was written before some field existed has that field's default; a stored recipe
        that it refuses with a ValueError is compared as it is.
        :class:`vitrail.storage.lock.Locked` (a ValueError) when another process writes the run,
        :class:`RecipeDiffers` when the recipes differ, ValueError when the folder holds something that is no
        run.
        """
        return Writing(self, recipe, read)

    def _begin(self, recipe: dict[str, Any], read: Reader | None) -> None:
        resumed = self.exists
        if resumed:
            differences = compare(self.recipe(), recipe)
            if differences and read is not None:
                differences = compare(_as_now(self.recipe(), read), recipe)
            if differences:
                raise RecipeDiffers(self.path, differences)
        else:
            others = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
            if others:
                raise ValueError(
                    f"{self.path} holds {', '.join(others[:3])} but no recipe.yaml, so it is no run; "
                    "choose an empty or a new folder."
                )
        atomic.sweep(self.path)
        environment = describe()
        if not self.environment_path.exists():
            atomic.write_json(self.environment_path, environment)
        if not resumed:
            atomic.write_text(
                self.recipe_path, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)
            )
        with JsonlLog(self.starts_path) as starts:
            starts.append(
                {
                    "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                    "fingerprint": environment["fingerprint"],
                    "commit": environment["commit"],
                    "resumed": resumed,
                }
            )


class Writing:
    """The ``with`` block in which a run is written; see :meth:`RunFolder.writing`."""

    def __init__(self, run: RunFolder, recipe: Mapping[str, Any], read: Reader | None = None):
        self._run, self._read = run, read
        # As a file would hold it: tuples become lists, and what YAML cannot hold fails before anything is
        # written.
        self._recipe = json.loads(json.dumps(recipe, allow_nan=False))

    def __enter__(self) -> RunFolder:
        made = not self._run.path.exists()
        self._run.path.mkdir(parents=True, exist_ok=True)
        self._run._lock.acquire()
        try:
            self._run._begin(self._recipe, self._read)
        except BaseException:
            self._run._lock.release()
            if not made and not self._run.exists:
                self._run._lock.path.unlink(missing_ok=True)
            raise
        return self._run

    def __exit__(self, *_: object) -> None:
        self._run._lock.release()


def _as_now(stored: dict[str, Any], read: Reader) -> Any:
    try:
        return json.loads(json.dumps(read(stored)))
    except ValueError:
        return stored


def compare(there: Any, here: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Where two recipes differ: dotted field, value there, value here; ``None`` where a field is missing."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = list(dict.fromkeys([*there, *here]))
        pairs = [(f"{path}.{name}" if path else str(name), there.get(name), here.get(name)) for name in names]
    elif isinstance(there, list) and isinstance(here, list):
        length = max(len(there), len(here))
        fill = [None] * length
        pairs = [
            (f"{path}.{index}", a, b)
            for index, (a, b) in enumerate(zip((there + fill)[:length], (here + fill)[:length], strict=True))
        ]
    else:
        equal = there == here and isinstance(there, bool) == isinstance(here, bool)
        return [] if equal else [(path, there, here)]
    return [difference for field, a, b in pairs for difference in compare(a, b, field)]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a {what}: a letter or digit, then these, '-', '_', '+' or '.'."
        )
    return name

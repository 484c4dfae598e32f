"""Arms that differ only in what is asked afterwards train once: their cells share one trained model.

A crop at the question, fewer visual tokens, another way of judging: such a method and its control train alike, from the
same seed on the same scenes. Their training is a run of its own beside the cells, which each cell takes over before its
questions are asked. Its seconds, steps and memory count in every cell that uses it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.storage import atomic
from vitrail.storage.cache import key
from vitrail.studies.arms import Arm

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe
    from vitrail.storage.runs import RunFolder

FOLDER = "training-"
"""What the folders of trainings in a study's work begin with."""
KEPT_BYTES = 1 << 30
"""A larger training is removed when no cell of its phase needs it any more; a smaller one stays for context cells."""
_PEAK = "peak.json"
_WORDS = ("kind", "fold", "names")
"""Fields whose values are words of their own, never names of a recipe's data."""


def training_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A plain recipe without its evaluations, its name, and the data that no stage reads."""
    other = ("name", "about", "data", "evaluation", "report")
    kept = {name: value for name, value in recipe.items() if name not in other}
    read = _read_by(kept, recipe["data"])
    data = {name: one for name, one in recipe["data"].items() if name in read}
    return {**kept, "name": "training", "data": data, "evaluation": [], "report": {"gallery": 0}}


def _read_by(value: Any, data: Mapping[str, Any]) -> set[str]:
    """Names of ``data`` that are mentioned in ``value``, or in data that are."""
    found: set[str] = set()
    new = {text for text in _texts(value) if text in data}
    while new:
        found |= new
        new = {text for name in new for text in _texts(data[name]) if text in data} - found
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from (name, *(() if name in _WORDS else _texts(one)))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)


def identity(recipe: Mapping[str, Any]) -> str | None:
    """The same for recipes that train alike; None for a loop, whose rounds ask and train in turns."""
    if recipe.get("loop") is not None:
        return None
    return key("training", training_of(recipe))[:16]


def alike(arms: Sequence[Arm]) -> frozenset[str]:
    """The names of the arms that train as another one does."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        own = identity(arm.recipe)
        if own is not None:
            found.setdefault(own, []).append(arm.name)
    return frozenset(name for names in found.values() if len(names) > 1 for name in names)


def take_over(run: RunFolder, recipe: Recipe, training: RunFolder) -> None:
    """Begin ``run`` with the trained model and the stages of ``training``; nothing where it has them already.

    Weights are linked, so that they are there once. Killed at any moment and called again, it does what is left.
    """
    from vitrail.recipes import loading

    if (run.model_path / "config.json").exists():
        return
    with run.writing(loading.plain(recipe), lambda stored: loading.plain(loading.load(stored))) as opened:
        shutil.copytree(
            training.path / "stages", opened.path / "stages", copy_function=_link, dirs_exist_ok=True
        )
        part = opened.path / ".model"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(training.model_path, part, copy_function=_link)
        os.replace(part, opened.model_path)


def _link(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        try:
            os.link(source, target)
            return
        except FileExistsError:
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)


def note_peak(training: RunFolder, peak_bytes: int) -> int:
    """The most memory that the training took: kept when it is first said, and told to whoever takes it over."""
    path = training.path / _PEAK
    if not path.exists():
        atomic.write_json(path, {"peak_bytes": peak_bytes})
    return int(json.loads(path.read_text(encoding="utf-8"))["peak_bytes"])


def forget_large(work: Path, training: str) -> None:
    """Remove a training that nobody waits for, if it takes much room."""
    place = work / f"{FOLDER}{training}"
    if sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) > KEPT_BYTES:
        shutil.rmtree(place, ignore_errors=True)


def forget(work: Path) -> None:
    """Remove the trainings in ``work``: the study has ended."""
    for path in work.glob(f"{FOLDER}*"):
        shutil.rmtree(path, ignore_errors=True)

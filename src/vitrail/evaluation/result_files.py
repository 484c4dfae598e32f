"""Results on the disk: files of answers below folders, told apart by model, questions and protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import Answers, read_answers
from vitrail.evaluation.scores import Scores, scores_of
from vitrail.storage.cache import key

AS_IS = "as_is"
BESIDE = ("blind", "untrained")
"""Conditions of the same folder that a result is read beside."""


@dataclass(frozen=True)
class Result:
    """One file of answers; scored when first asked."""

    answers: Answers

    @classmethod
    def of(cls, path: Path | str) -> Result:
        """Read from ``path``. ValueError for a file that is none."""
        return cls(read_answers(path))

    @property
    def header(self) -> dict[str, Any]:
        """See :class:`~vitrail.evaluation.answers.Answers`."""
        return self.answers.header

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.answers.path

    @cached_property
    def scores(self) -> Scores:
        """See :mod:`vitrail.evaluation.scores`."""
        return scores_of(self.answers)

    @property
    def benchmark(self) -> str:
        """Which questions: a benchmark's name, or that of the task."""
        return str(self.header.get("benchmark") or self.header["task"]["name"])

    @property
    def questions(self) -> str:
        """Fingerprint of the questions."""
        return str(self.header["fingerprints"]["scenario"])

    @property
    def model(self) -> tuple[str, str]:
        """Name and fingerprint of the model, and of methods of inference that it answered with."""
        prints = self.header["fingerprints"]
        return str(self.header["model"]), f"{prints['model']}{prints.get('methods', '')}"

    @property
    def transform(self) -> str:
        """What happened to the questions before they were asked."""
        return str(self.header["fingerprints"].get("transform", AS_IS))

    @property
    def protocol(self) -> dict[str, str]:
        """What has to be equal for two figures to be comparable, whoever answers.

        Questions, how they are put, how the model is made to answer and how an answer is read. Chat templates and
        image processors belong to the model and are not among it.
        """
        task = self.header["task"]
        imported = self.header["fingerprints"].get("inferencer") == "imported"
        return {
            "questions": self.questions,
            "circular": str(bool(self.header.get("circular"))),
            "instruction": "another tool's" if imported else _plain(task["instruction"]),
            "inferencer": "another tool's" if imported else _plain(task["inferencer"]),
            "metric": _plain(task["metric"]),
            "transform": self.transform,
        }


def _plain(part: dict[str, Any]) -> str:
    return json.dumps(part, sort_keys=True, ensure_ascii=False)


def is_answers(path: Path) -> bool:
    """Whether a file begins as a file of answers does."""
    try:
        with open(path, "rb") as file:
            first = json.loads(file.readline(1_000_000))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.get("type") == "header" and "fingerprints" in first


def find(places: Sequence[Path | str]) -> list[Path]:
    """Files of answers: each place itself, or all below a folder, sorted. ValueError for a place without any."""
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            below = [path for path in sorted(place.rglob("*.jsonl"), key=_place) if is_answers(path)]
            if not below:
                raise ValueError(f"there is no file of answers below {place}; vitrail eval writes them")
            found += below
        else:
            found.append(read_answers(place).path)
    return list(dict.fromkeys(found))


def _place(path: Path) -> tuple[str, bool, str]:
    return str(path.parent), path.stem in BESIDE, path.name


def with_siblings(paths: Iterable[Path]) -> list[Path]:
    """The files, each followed by what the same model was asked besides: blinded, and before training."""
    found: dict[Path, None] = {}
    for path in paths:
        found[path] = None
        if path.stem not in BESIDE:
            found |= {
                near: None
                for name in BESIDE
                if (near := path.with_name(f"{name}.jsonl")).exists() and is_answers(near)
            }
    return list(found)


def short_names(models: Iterable[str]) -> dict[str, str]:
    """What a reader sees of each model's name: of an absolute path its last folder, or as many as tell it from others.

    Names of a hub, of an address and relative paths stay.
    """
    paths = {name: Path(name).parts for name in models if Path(name).is_absolute()}
    found = {name: name for name in models}
    for name, parts in paths.items():
        length = 2 if parts[-1] == "model" else 1
        while length < len(parts) and any(
            other[-length:] == parts[-length:] for key, other in paths.items() if key != name
        ):
            length += 1
        found[name] = "/".join(parts[-length:]) if length < len(parts) else name
    return found


def labels(results: Sequence[Result]) -> list[str]:
    """A name for each: the model's (:func:`short_names`), with its condition unless it is the plain one; unique.

    Where two models share a name, a piece of their fingerprints tells them apart.
    """
    short = short_names(dict.fromkeys(one.model[0] for one in results))
    names: dict[str, set[str]] = {}
    for one in results:
        name, fingerprint = one.model
        names.setdefault(name, set()).add(fingerprint)
    made: list[str] = []
    for one in results:
        name, fingerprint = one.model
        label = short[name] if len(names[name]) == 1 else f"{short[name]} ({key(fingerprint)[:6]})"
        condition = one.header["condition"]
        plain = condition == "trained" or one.header["fingerprints"].get("inferencer") == "imported"
        label = label if plain or label.endswith(condition) else f"{label}, {condition}"
        count = 2
        unique = label
        while unique in made:
            unique, count = f"{label} [{count}]", count + 1
        made.append(unique)
    return made

"""What is wrong with a recipe, said so that it can be put right: line, path, value, remedy.

:mod:`vitrail.settings.faults` finds the path and the remedy; this module adds the line of the YAML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from vitrail.settings.faults import NOTHING, Path, flatten


@dataclass(frozen=True)
class Problem:
    """One fault: the dotted ``path`` of the field, the ``message``, and ``where`` it was written."""

    path: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class RecipeError(ValueError):
    """A recipe that cannot be used. ``problems`` holds every fault found; the text lists them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def from_validation(
    error: ValidationError,
    model: type[BaseModel],
    raw: Any,
    label: str = "",
    lines: Mapping[Path, int] | None = None,
    overridden: set[Path] | frozenset[Path] = frozenset(),
) -> list[Problem]:
    """The problems behind a pydantic error of ``model`` for the plain value ``raw``.

    ``lines`` are those of the file ``label``; ``overridden`` the paths that came from the command line.
    """
    found = []
    for path, message, value in flatten(error, model, raw):
        if value is not NOTHING:
            message = f"{message} (got {_short(value)})"
        found.append(Problem(".".join(map(str, path)), message, _where(path, label, lines or {}, overridden)))
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _where(path: Path, label: str, lines: Mapping[Path, int], overridden: set[Path] | frozenset[Path]) -> str:
    if any(path[: len(own)] == own or own[: len(path)] == path for own in overridden):
        return "override"
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return f"{label}:{lines[path[:length]]}"
    return label

"""What is wrong with a row, in words a user can act on: which field, which value, what to do."""

from __future__ import annotations

import difflib
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from vitrail.data import records
from vitrail.data.sources import BadRow


class FieldError(ValueError):
    """A field of a row is not what it should be. ``field`` is its path in the row, ``reason`` a sentence."""

    def __init__(self, field: str, reason: str):
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}" if field else reason)


class RecordError(ValueError):
    """A row of a file that cannot be a record; ``row`` says where and why."""

    def __init__(self, row: BadRow, remedy: str = ""):
        self.row = row
        super().__init__(f"{row}{remedy}")


def field_error(error: ValidationError, data: Any) -> FieldError:
    """The first problem that pydantic found in ``data``, as a path in the data and a sentence."""
    first = error.errors(include_url=False)[0]
    return FieldError(_path(first["loc"], data), _reason(first))


def _path(location: tuple[int | str, ...], data: Any) -> str:
    """Pydantic's location without the names of union members, which are not in the user's row."""
    path, here = "", data
    for position, step in enumerate(location):
        if isinstance(step, int):
            path += f"[{step}]"
            here = here[step] if isinstance(here, (list, tuple)) and step < len(here) else None
        elif position and isinstance(location[position - 1], int) and _type(here) == step:
            # The chosen member of the union of content types, which pydantic names after the list position.
            continue
        elif isinstance(here, dict) or position == len(location) - 1:
            path += f".{step}" if path else step
            here = here.get(step) if isinstance(here, dict) else None
    return path


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None


def _reason(problem: Any) -> str:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing; add it"
    if kind == "tuple_type":
        return f"must be a list, but it is {shown(value)}"
    if kind == "too_short":
        wanted = context["min_length"]
        return f"must have at least {wanted} item{'s' * (wanted > 1)}, but it is {shown(value)}"
    if kind == "extra_forbidden":
        return f"is not a known field; {nearest(str(problem['loc'][-1]), _field_names())}"
    if kind == "union_tag_not_found":
        return 'has no \'type\'; add one, such as "type": "text"'
    if kind == "union_tag_invalid":
        known = context["expected_tags"].replace("'", "").split(", ")
        return f"type {shown(context['tag'])} is unknown; {nearest(str(context['tag']), known)}"
    if kind == "literal_error":
        known = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{shown(value)} is not allowed here; {nearest(str(value), known)}"
    return f"{_lower(problem['msg'])}, but it is {shown(value)}"


def _lower(message: str) -> str:
    message = message.removeprefix("Input ")
    return message[:1].lower() + message[1:]


def shown(value: Any, limit: int = 60) -> str:
    """A value for an error message, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def nearest(name: str, known: list[str]) -> str:
    """The nearest right name and all of them, as the end of a sentence."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def _field_names() -> list[str]:
    models = [
        records.Message,
        records.Choices,
        records.Step,
        *typing.get_args(typing.get_args(records.AnyRecord)[0]),
    ]
    models += typing.get_args(typing.get_args(records.Content)[0])
    return sorted({name for model in models if issubclass(model, BaseModel) for name in model.model_fields})

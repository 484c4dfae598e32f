"""pydantic's errors as faults: path, message with the remedy, and the wrong value.

pydantic finds the faults. This module adds what it does not know: the nearest right name for an unknown field or a
wrong choice, and plain words.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from vitrail.registry import nearest

Path = tuple[str | int, ...]
"""Where a value stands: names of fields and numbers in lists, from the outside in."""

NOTHING = object()
"""Stands for "there is no value to show"."""

_PLAIN = {
    "model_type": "must be a mapping of fields",
    "model_attributes_type": "must be a mapping of fields",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text; put it in quotes",
    "union_tag_not_found": "this field is required: it says what kind of source this is",
}


def inner_error(path: Path, message: str) -> PydanticCustomError:
    """An error for a validator to raise about something further in, at ``path`` below the value validated."""
    return inner_errors([(path, message, NOTHING)])


def inner_errors(errors: list[tuple[Path, str, Any]]) -> PydanticCustomError:
    """Several of them: path below the value validated, message, and the wrong value."""
    text = "; ".join(f"{'.'.join(map(str, path))}: {message}" for path, message, _ in errors)
    return PydanticCustomError("inner", "{text}", {"text": text, "errors": errors})


def flatten(error: ValidationError, model: type[BaseModel], raw: Any) -> list[tuple[Path, str, Any]]:
    """Every fault as path, message and wrong value; faults reported by inner validators are spelled out."""
    flat: list[tuple[Path, str, Any]] = []
    for item in error.errors(include_url=False):
        path = _strip_tags(item["loc"], raw)
        if item["type"] == "inner":
            flat += [((*path, *inner), message, value) for inner, message, value in item["ctx"]["errors"]]
        elif item["type"] == "extra_forbidden":
            known = sorted(fields_at(model, path[:-1], raw))
            flat.append((path, f"there is no such field; {nearest(str(path[-1]), known)}", item["input"]))
        elif item["type"] == "missing":
            flat.append((path, "this field is required", NOTHING))
        elif item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            field = item["ctx"]["discriminator"].strip("'")
            given = item["ctx"].get("tag", NOTHING)
            flat.append(((*path, field), _message(item), given))
        elif item["type"] == "too_short" and any(path == other[: len(path)] for other, _, _ in flat):
            continue  # it only repeats that an item of the list is wrong
        else:
            flat.append((path, _message(item), item["input"]))
    return flat


def _message(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        choices = _choices(str(context.get("expected") or context.get("expected_tags", "")))
        given = context.get("tag", item["input"])
        return f"must be one of {', '.join(choices)}; {nearest(str(given), choices)}"
    if kind in _PLAIN:
        return _PLAIN[kind]
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should", "must", 1)


def _choices(expected: str) -> list[str]:
    return [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]


def _strip_tags(loc: tuple[str | int, ...], raw: Any) -> Path:
    """A pydantic location without the tags of unions, which stand in no file."""
    path: list[str | int] = []
    for position, step in enumerate(loc):
        inside = (isinstance(raw, Mapping) and step in raw) or (
            isinstance(raw, (list, tuple)) and isinstance(step, int) and step < len(raw)
        )
        if inside:
            raw = raw[step]  # type: ignore[index]
            path.append(step)
        elif position == len(loc) - 1 and not (isinstance(raw, Mapping) and raw.get("kind") == step):
            path.append(step)
    return tuple(path)


def fields_at(model: type[BaseModel], path: Path, raw: Any = None) -> set[str]:
    """The names of the fields allowed at ``path`` below ``model``."""
    kinds: list[Any] = [model]
    for step in path:
        raw = raw[step] if raw is not None else None
        kinds = [inner for kind in kinds for inner in _step(kind, step)]
        if isinstance(raw, Mapping) and isinstance(raw.get("kind"), str):
            tagged = [kind for kind in kinds if raw["kind"] in _tags(kind)]
            kinds = tagged or kinds
    return {
        name
        for kind in kinds
        if _is_model(kind)
        for name in (getattr(kind, "field_names", None) or kind.model_fields.keys)()
    }


def _tags(kind: Any) -> tuple[Any, ...]:
    field = kind.model_fields.get("kind") if _is_model(kind) else None
    return typing.get_args(field.annotation) if field is not None else ()


def _step(kind: Any, step: str | int) -> list[Any]:
    if _is_model(kind):
        field = kind.model_fields.get(step)
        return _alternatives(field.annotation) if field is not None else []
    arguments = typing.get_args(kind)
    return (
        _alternatives(arguments[-1] if arguments[-1:] != (Ellipsis,) else arguments[0]) if arguments else []
    )


def _alternatives(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return [found for part in typing.get_args(annotation) for found in _alternatives(part)]
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    return [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)

"""``key=value`` overrides of a recipe: dotted paths, list positions or item names, values typed by YAML.

``stages.1.learning_rate=1e-3``, ``stages.tune.learning_rate=1e-3`` and ``model.lora={r: 8}`` all work on the
plain mapping of a recipe, before it is validated.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from vitrail.recipes import yaml_text
from vitrail.registry import nearest

_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


def parse(text: str) -> tuple[str, Any]:
    """``"key=value"`` → the dotted key and the typed value. ValueError if it is not of this form."""
    key, equals, value = text.partition("=")
    if not equals or not _KEY.match(key.strip()):
        raise ValueError(
            f"override {text!r}: write it as key=value, for example seed=1 or stages.0.max_steps=20"
        )
    try:
        return key.strip(), yaml_text.scalar(value)
    except ValueError as error:
        raise ValueError(
            f"override {text!r}: the value is not YAML ({error}); quote it if it is a text"
        ) from None


def apply(
    recipe: Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any]
) -> tuple[dict[str, Any], set]:
    """A copy of ``recipe`` with ``overrides`` set, and the paths that they set.

    ``overrides`` are ``"key=value"`` texts or a mapping from dotted keys to values. Later ones win. Missing
    mappings on the way are made. ValueError names the path, and the nearest one that exists.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(recipe))
    pairs = overrides.items() if isinstance(overrides, Mapping) else [parse(text) for text in overrides]
    touched = set()
    for key, value in pairs:
        touched.add(_set(changed, key, copy.deepcopy(value)))
    return changed, touched


def _set(recipe: dict[str, Any], key: str, value: Any) -> yaml_text.Path:
    steps = key.split(".")
    holder: Any = recipe
    path: list[str | int] = []
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        if isinstance(holder, list):
            index = _list_index(holder, step, key, path)
            path.append(index)
            if last:
                holder[index] = value
            else:
                holder = holder[index]
        elif isinstance(holder, dict):
            path.append(step)
            if last:
                holder[step] = value
            else:
                if holder.get(step) is None:
                    holder[step] = {}
                holder = holder[step]
        else:
            at = ".".join(map(str, path))
            raise ValueError(
                f"override {key}: {at} is {holder!r}, which has nothing inside; {_nearest_path(recipe, key)}"
            )
    return tuple(path)


def _list_index(items: list, step: str, key: str, path: list[str | int]) -> int:
    if re.fullmatch(r"-?\d+", step):  # -1 is the last
        if -len(items) <= int(step) < len(items):
            return int(step) % len(items)
        at = ".".join(map(str, path))
        raise ValueError(f"override {key}: {at} has {len(items)} items, numbered from 0; there is no {step}")
    names = [str(item["name"]) if isinstance(item, dict) and "name" in item else "" for item in items]
    if step in names:
        return names.index(step)
    at = ".".join(map(str, path))
    hint = nearest(step, [name for name in names if name])
    raise ValueError(f"override {key}: {at} is a list; give a position from 0 or an item's name; {hint}")


def _nearest_path(recipe: Any, key: str) -> str:
    return nearest(key, [".".join(map(str, path)) for path in paths(recipe)])


def paths(value: Any, path: yaml_text.Path = ()) -> list[yaml_text.Path]:
    """The path of every value inside nested mappings and lists."""
    if isinstance(value, Mapping):
        inner: Iterable[tuple[str | int, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    else:
        return []
    return [found for name, child in inner for found in [(*path, name), *paths(child, (*path, name))]]

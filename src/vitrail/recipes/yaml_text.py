"""YAML as recipes use it: YAML 1.2 scalars, no duplicate keys, and the line each value stands on.

PyYAML reads YAML 1.1, where ``1e-3`` is a string and ``no`` is false. Recipes follow YAML 1.2's core schema
(https://yaml.org/spec/1.2.2/#103-core-schema): ``1e-3`` is a number and only ``true`` and ``false`` are
booleans.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from vitrail.settings.faults import Path

_RARE_BREAKS = re.compile("[\r\x85\u2028\u2029]")
_SCALARS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+(_[0-9]+)*|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 scalars, which refuses duplicate keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own class attribute)

    def construct_yaml_int(self, node: Any) -> int:
        """Decimal or ``0x``; a leading zero does not mean octal."""
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 16) if text.lower().startswith("0x") else int(text, 10)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping; a key that stands twice is an error with both lines."""
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key!r} stands twice (first on line {seen[key]})",
                    key_node.start_mark,
                )
            seen[key if isinstance(key, str) else id(key)] = line
        return super().construct_mapping(node, deep)


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
for _tag, _pattern, _first in _SCALARS:
    Loader.add_implicit_resolver(
        _tag, re.compile(f"^(?:{_pattern})$"), list(_first) + ([""] if "null" in _tag else [])
    )
Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"])


class Dumper(yaml.SafeDumper):
    """Writes what :class:`Loader` reads back as the same values."""

    yaml_implicit_resolvers = Loader.yaml_implicit_resolvers

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Indent list items under their key, as people write them."""
        return super().increase_indent(flow, False)


def _represent_float(dumper: yaml.SafeDumper, value: float) -> Any:
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> Any:
    # YAML folds its rarer line breaks into spaces unless they are escaped.
    style = '"' if _RARE_BREAKS.search(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Dumper.add_representer(float, _represent_float)
Dumper.add_representer(str, _represent_text)
Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign, assignment]


@dataclass
class Parsed:
    """A YAML text's value, and the 1-based line on which the value at each path begins."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


def parse(text: str, label: str = "recipe") -> Parsed:
    """Read one YAML document. ValueError names ``label``, the line and what is wrong."""
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        if node is not None:
            _note_lines(node, (), lines, set())
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark else label
        raise ValueError(f"{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{label}: this is not YAML: {error}") from None
    finally:
        loader.dispose()
    return Parsed(value, lines)


def _note_lines(node: Any, path: Path, lines: dict[Path, int], open_nodes: set[int]) -> None:
    if id(node) in open_nodes:
        raise yaml.constructor.ConstructorError(None, None, "an alias contains itself", node.start_mark)
    lines.setdefault(path, node.start_mark.line + 1)
    children: list[tuple[str | int, Any]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                lines[(*path, key.value)] = key.start_mark.line + 1
                children.append((key.value, value))
    elif isinstance(node, yaml.SequenceNode):
        children = list(enumerate(node.value))
    for name, child in children:
        _note_lines(child, (*path, name), lines, open_nodes | {id(node)})


def scalar(text: str) -> Any:
    """The typed value of what stands right of ``=`` in an override: a number, a list, a mapping, a text …"""
    return parse(text, "value").value


def dump(value: Any) -> str:
    """YAML text of plain values, keys in their order."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)

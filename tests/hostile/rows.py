"""Right rows of every format, and each of their fields with values of the wrong types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostile.case import Case, lines, noise, saved


def whole() -> dict[str, Any]:
    """A row with every field that a chat may have."""
    return {
        "id": "x",
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
            {
                "role": "assistant",
                "content": [{"type": "video", "frames": [{"type": "image", "path": "a.png"}], "fps": 2.0}],
                "weight": 1.0,
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}],
            },
        ],
        "images": [{"path": "a.png"}],
        "rejected": [{"role": "assistant", "content": "No."}],
        "choices": {"options": ["a", "b"], "answer": 1},
        "meta": {"source": "x"},
    }


WRONG: list[Any] = [None, 3, -1.5, True, "x", "", [], {}, [[]], [None], {"a": {"b": 1}}, [3, "x"], "\0"]


def inner_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of every value inside ``value``."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [
        one for step, inner in steps for one in inner_paths(inner, (*path, step))
    ]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of ``value`` with ``new`` at ``path``."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


SWIFT = {
    "messages": [
        {"role": "user", "content": "<image>Find <ref-object>"},
        {"role": "assistant", "content": "<bbox>"},
    ],
    "images": ["a.png"],
    "objects": {"ref": ["x"], "bbox": [[1, 2, 3, 4]], "image_id": [0], "bbox_type": "real"},
    "rejected_response": "no",
    "label": True,
}
FOREIGN: dict[str, dict[str, Any]] = {
    "chat": whole(),
    "swift": SWIFT,
    "llava": {
        "id": "x",
        "image": "a.png",
        "conversations": [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "A"}],
    },
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "<image>Q"},
            {"from": "function_call", "value": '{"name": "f"}'},
        ],
        "chosen": {"from": "gpt", "value": "A"},
        "rejected": {"from": "gpt", "value": "B"},
        "images": ["a.png"],
        "system": "S",
    },
    "trl": {
        "prompt": [{"role": "user", "content": "Q"}],
        "chosen": [{"role": "assistant", "content": "A"}],
        "rejected": [{"role": "assistant", "content": "B"}],
        "images": ["a.png"],
    },
    "alpaca": {
        "instruction": "<image>Q",
        "input": "i",
        "output": "o",
        "history": [["a", "b"]],
        "images": ["a.png"],
    },
    "openai": {
        "input": {
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}]
        },
        "preferred_output": [{"role": "assistant", "content": "A"}],
        "non_preferred_output": [{"role": "assistant", "content": "B"}],
    },
    "vqa": {"question": "Q", "answer": "A", "A": "x", "B": "y", "image": "a.png"},
    "caption": {"image": {"bytes": None, "path": "a.png"}, "text": "x"},
    "record": {
        "kind": "episode",
        "steps": [{"observation": [{"type": "text", "text": "x"}], "action": {"type": "action", "value": 1}}],
    },
}


def wrong_types() -> list[Case]:
    """For every field of every format one file, in which it has each of the wrong values in turn."""
    cases = []
    for form, right in FOREIGN.items():
        for path in inner_paths(right):

            def make(folder: Path, right: Any = right, path: Any = path) -> Path:
                (folder / "a.png").write_bytes(saved(noise(), "PNG"))
                return lines(folder, right, *(replaced(right, path, wrong) for wrong in WRONG))

            cases.append(Case(f"{form}: {'.'.join(map(str, path))} of a wrong type", make, "either"))
    return cases

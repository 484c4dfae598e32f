"""ms-swift's boxes: ``<ref-object>`` and ``<bbox>`` in the texts of a row stand for entries of its ``objects``.

``objects`` has ``ref`` (texts), ``bbox`` (lists of 2, 4 or 8 numbers), ``bbox_type`` (``"real"``: pixels, the default;
``"norm1"``: 0 to 1) and ``image_id`` (which picture each box is in, default the first). Boxes in pixels become typed
regions and points. Those of other types cannot without the picture's size: they become text as ms-swift writes it,
``[(x1,y1),(x2,y2)]`` in thousandths, and ``objects`` stays in ``meta``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from vitrail.data.codecs import thousandths
from vitrail.data.readers.content import Row
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Points, Region

TAG = re.compile("(<ref-object>|<bbox>)")
_SCALE = {"norm1": 1000.0, "norm1000": 1.0}


def place(turns: list[Row], objects: Row) -> bool:
    """Replace the tags in the turns; returns whether everything is now typed. :class:`FieldError` for a mismatch."""
    refs, boxes = _list(objects, "ref"), _list(objects, "bbox")
    kind = objects.get("bbox_type") or "real"
    if not isinstance(kind, str) or (kind != "real" and kind not in _SCALE):
        raise FieldError("objects.bbox_type", f"{shown(kind)} is unknown; known: real, norm1")
    where = _list(objects, "image_id")
    found = [tag for turn in turns for text in _texts(turn) for tag in TAG.findall(text)]
    for tag, name, items in (("<ref-object>", "ref", refs), ("<bbox>", "bbox", boxes)):
        if found.count(tag) != len(items):
            raise FieldError(
                f"objects.{name}",
                f"has {len(items)} entries for {found.count(tag)} times {tag!r} in the texts; make them equal",
            )
    left = {"<ref-object>": iter(_refs(refs)), "<bbox>": iter(_boxes(boxes, where, kind))}
    for turn in turns:
        turn["content"] = _placed(turn["content"], left)
    return kind == "real"


def _list(objects: Row, name: str) -> list[Any]:
    value = objects.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise FieldError(f"objects.{name}", f"must be a list, but it is {shown(value)}")
    return value


def _texts(turn: Row) -> list[str]:
    content = turn["content"]
    if isinstance(content, str):
        return [content]
    return [
        part["text"] for part in content if part.get("type") == "text" and isinstance(part.get("text"), str)
    ]


def _refs(refs: list[Any]) -> Iterator[Row]:
    for n, ref in enumerate(refs):
        if not isinstance(ref, str):
            raise FieldError(f"objects.ref[{n}]", f"must be text, but it is {shown(ref)}")
        yield {"type": "text", "text": ref}


def _boxes(boxes: list[Any], where: list[Any], kind: str) -> Iterator[Row]:
    for n, box in enumerate(boxes):
        path = f"objects.bbox[{n}]"
        numbers = isinstance(box, list) and all(
            isinstance(x, (int, float)) and not isinstance(x, bool) for x in box
        )
        if not numbers or len(box) not in (2, 4, 8):
            raise FieldError(path, f"must be 2, 4 or 8 numbers, but it is {shown(box)}")
        if kind != "real":
            yield {"type": "text", "text": thousandths.write([x * _SCALE[kind] for x in box])}
            continue
        image = where[n] if n < len(where) else 0
        if not isinstance(image, int) or image < 0:
            raise FieldError(
                f"objects.image_id[{n}]", f"must be a picture's number from 0, not {shown(image)}"
            )
        if len(box) == 2:
            yield {"type": "points", "points": [box], "image": image}
        else:
            yield {"type": "region", "box" if len(box) == 4 else "quad": box, "image": image}


def _placed(content: Any, left: dict[str, Iterator[Row]]) -> Any:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    out: list[Row] = []
    changed = False
    for part in parts:
        text = part.get("text") if part.get("type") == "text" else None
        if not isinstance(text, str) or not TAG.search(text):
            out.append(part)
            continue
        changed = True
        for index, piece in enumerate(TAG.split(text)):
            new = next(left[piece]) if index % 2 else {"type": "text", "text": piece}
            if new.get("text") == "":
                continue
            if out and out[-1]["type"] == new["type"] == "text":
                out[-1] = {"type": "text", "text": out[-1]["text"] + new["text"]}
            else:
                out.append(new)
    return out if changed else content


def entry(part: Region | Points, path: str) -> tuple[list[float], int]:
    """The reverse: a region or point as an entry of ``bbox`` and its picture."""
    if part.label is not None:
        raise FieldError(f"{path}.label", "has no place in this format; write it as text before the region")
    numbers: Sequence[float] | None = None
    if isinstance(part, Points) and len(part.points) == 1:
        numbers = part.points[0]
    if isinstance(part, Region):
        numbers = part.box or part.quad
    if numbers is None:
        raise FieldError(path, "only boxes, quads and single points have a place in this format")
    return list(numbers), part.image

"""Boxes in an answer in words: which picture, where, which group; in pixels, shares or thousandths.

Read are JSON lists of objects with ``bbox_2d`` (``bbox``, ``box``; corners), ``image`` and ``group`` from 1, ``score``;
else lines that name a picture and four numbers. ``[]`` or *none* says that there is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from vitrail.evaluation.grounding_pairs import Box, Pair, images_right
from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Settings

Form = Literal["pixels", "unit", "thousandths"]
_LIST = re.compile(r"\[\s*(?:\{.*\}\s*)?\]", re.DOTALL)
_LINE = re.compile(
    r"image\s*[-_#]?\s*([12])\D{0,20}?\[?\(?\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)", re.I
)
_NONE = re.compile(r"^\W*(?:none|nothing|no (?:target|object|match)s?)\b", re.I)


def scaled(corners: Sequence[float], size: tuple[int, int], form: Form) -> tuple[float, float, float, float]:
    """Corners in a form to ``xywh`` in pixels of a picture of ``size`` (width, height)."""
    unit = {"pixels": None, "unit": 1.0, "thousandths": 1000.0}[form]
    x, y = (1.0, 1.0) if unit is None else (size[0] / unit, size[1] / unit)
    x1, y1, x2, y2 = corners[0] * x, corners[1] * y, corners[2] * x, corners[3] * y
    return (x1, y1, x2 - x1, y2 - y1)


def written(box: Box, size: tuple[int, int], form: Form) -> dict[str, Any]:
    """A box as the answer of a model would have it; thousandths are rounded to whole ones."""
    x, y, w, h = box.xywh
    corners = [x, y, x + w, y + h]
    if form != "pixels":
        corners = [value / side for value, side in zip(corners, (*size, *size), strict=True)]
    if form == "thousandths":
        corners = [round(1000 * value) for value in corners]
    return {"image": box.image + 1, "bbox_2d": corners, "group": box.group}


def read_boxes(text: str, sizes: Sequence[tuple[int, int]], form: Form) -> tuple[Box, ...] | None:
    """The boxes of an answer; None where it cannot be read. Boxes without width or height are left out."""
    found = _LIST.search(text)
    if found is not None:
        try:
            return _boxes(json.loads(found.group()), sizes, form)
        except (ValueError, TypeError, KeyError):
            pass
    lines = [(int(one[1]) - 1, [float(value) for value in one.groups()[1:]]) for one in _LINE.finditer(text)]
    if lines:
        every = [Box(image, scaled(corners, sizes[image], form)) for image, corners in lines]
        return tuple(box for box in every if min(box.xywh[2:]) > 0)
    return () if _NONE.match(text) else None


def _boxes(rows: Any, sizes: Sequence[tuple[int, int]], form: Form) -> tuple[Box, ...]:
    found = []
    for row in rows:
        corners = next(row[name] for name in ("bbox_2d", "bbox", "box") if name in row)
        image = int(row.get("image", row.get("image_id", 1))) - 1
        if len(corners) != 4 or not 0 <= image < len(sizes):
            raise ValueError
        xywh = scaled([float(value) for value in corners], sizes[image], form)
        if min(xywh[2:]) > 0:
            found.append(Box(image, xywh, int(row.get("group", 1)), float(row.get("score", 1.0))))
    return tuple(found)


def pair_of(row: dict[str, Any]) -> Pair:
    """Truth and answer of a row whose ``groups`` hold ``boxes``, ``sizes`` and ``form``."""
    about = row["groups"]
    truth = tuple(Box(one[0], tuple(one[1:5]), one[5]) for one in about["boxes"])  # type: ignore[arg-type]
    said = read_boxes(row["text"], about["sizes"], about["form"])
    return Pair(truth, said or ())


class BoxAnswers:
    """An answer in words gives boxes; right if for each picture it is known whether there is a target."""

    takes = "text"

    class Config(Settings):
        """Nothing to set: the question says in which form boxes are asked for."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row as :func:`pair_of` takes it. What cannot be read is wrong, not an empty answer."""
        about = row["groups"]
        if read_boxes(row["text"], about["sizes"], about["form"]) is None:
            return Judgement(None, False, False)
        return Judgement(None, images_right(pair_of(row)), True)

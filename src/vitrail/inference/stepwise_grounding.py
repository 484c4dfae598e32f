"""Grounding in two steps: a model says what to look for in each picture, a detector draws (MC-Bench, arXiv 2410.12332).

Both are given: an :class:`~vitrail.inference.answerers.Answerer`, and any zero-shot object detector with the interface
of transformers' pipeline. Groups are those of the first step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.inference.answerers import Answerer

Detector = Callable[..., Sequence[Mapping[str, Any]]]
"""``detector(picture, candidate_labels=[…], threshold=t)`` → ``[{"score", "label", "box": {"xmin", …}}]``."""
PROMPT = (
    "{text}\nWhich instances does this mean, in the first and in the second picture? Answer with a JSON object "
    '{{"1": [phrases], "2": [phrases]}}: for each picture, short phrases that describe what to look for in it alone, '
    "one "
    "for each group of things, in the same order in both; an empty list where there is none."
)


@dataclass(frozen=True)
class Grounded:
    """``boxes``: picture (0 or 1), ``xywh`` in pixels, group from 1, score; ``phrases`` by picture; whether the first
    step could be read; how often either was called.
    """

    boxes: tuple[tuple[int, tuple[float, float, float, float], int, float], ...]
    phrases: tuple[tuple[str, ...], tuple[str, ...]]
    parsed: bool
    calls: int


class StepwiseGrounder:
    """The two steps. ``threshold``: the least score of a box."""

    def __init__(self, mllm: Answerer, detector: Detector, threshold: float = 0.3) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; give a score between 0 and 1")
        self.mllm, self.detector, self.threshold = mllm, detector, threshold

    def __call__(self, images: Sequence[Image], text: str, root: Path | None = None) -> Grounded:
        """Boxes of what ``text`` means. ValueError unless there are two pictures."""
        if len(images) != 2:
            raise ValueError(f"images has {len(images)} pictures; grounding over a pair needs two")
        asked = Message(role="user", content=(*images, Text(text=PROMPT.format(text=text))))
        reply = self.mllm.ask([Chat(messages=(asked,))], root=root)[0].text
        phrases = _phrases(reply)
        if phrases is None:
            return Grounded((), ((), ()), False, 1)
        boxes = []
        calls = 1
        for place, (image, wanted) in enumerate(zip(images, phrases, strict=True)):
            for group, phrase in enumerate(wanted, start=1):
                if not phrase:
                    continue
                calls += 1
                picture = image.open(root).convert("RGB")
                for one in self.detector(picture, candidate_labels=[phrase], threshold=self.threshold):
                    if one["score"] >= self.threshold:
                        boxes.append((place, _xywh(one["box"]), group, float(one["score"])))
        return Grounded(tuple(boxes), phrases, True, calls)


def _phrases(reply: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    found = re.search(r"\{.*\}", reply, re.DOTALL)
    try:
        whole = json.loads(found.group()) if found else None
        if not isinstance(whole, dict) or not all(isinstance(whole.get(name), list) for name in ("1", "2")):
            return None
    except ValueError:
        return None
    first, second = (tuple(str(one).strip() for one in whole[name]) for name in ("1", "2"))
    return first, second


def _xywh(box: Mapping[str, float]) -> tuple[float, float, float, float]:
    return (
        float(box["xmin"]),
        float(box["ymin"]),
        float(box["xmax"] - box["xmin"]),
        float(box["ymax"] - box["ymin"]),
    )

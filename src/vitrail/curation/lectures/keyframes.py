"""Key frames: those that differ from the last one taken (Multimodal Textbook, arXiv 2501.00958).

    K = {F_1}, ref = F_1;  for i = 2 … N:  s(ref, F_i) < T  →  F_i joins K and becomes ref

The comparison is with the last key frame, not with the frame before, so a slow fade is seen. s is SSIM; the paper
compares it with the difference of pixels and with an encoder's cosine. T and the frames a second are not in the paper.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from vitrail.analysis.structural_similarity import grey, ssim

Similarity = Literal["ssim", "pixel"] | Callable[[Any, Any], float]


def extract_keyframes(
    frames: Iterable[Any], similarity: Similarity = "ssim", threshold: float = 0.7
) -> list[int]:
    """The indices of the key frames of ``frames`` (Pillow pictures, or arrays of rows × cols × 3), all of one size.

    ``similarity``: ``ssim``; ``pixel``, 1 − the mean difference of grey levels / 255; or a function of two frames.
    ValueError for no frame, different sizes, or a threshold that is no number.
    """
    places = [place for place, _ in keyframes(frames, similarity, threshold)]
    if not places:
        raise ValueError("there is no frame; give one or more")
    return places


def keyframes(
    frames: Iterable[Any], similarity: Similarity = "ssim", threshold: float = 0.7
) -> Iterator[tuple[int, Any]]:
    """Index and frame of the key frames, as they come; the last key frame is all that is held."""
    if math.isnan(threshold):
        raise ValueError("threshold is not a number; give the similarity below which a frame is new")
    compare, prepare = _comparison(similarity)
    reference: Any = None
    for place, frame in enumerate(frames):
        prepared = prepare(frame)
        if reference is None or compare(reference, prepared) < threshold:
            reference = prepared
            yield place, frame


def encoder_similarity(encoder: Any) -> Callable[[Any, Any], float]:
    """The cosine of two pictures to an encoder (``embed_images``)."""

    def compare(first: Any, second: Any) -> float:
        one, other = np.asarray(encoder.embed_images([first, second]), dtype=np.float64)
        return float(one @ other)

    return compare


def _comparison(similarity: Similarity) -> tuple[Callable[[Any, Any], float], Callable[[Any], Any]]:
    if similarity == "ssim":
        return ssim, grey
    if similarity == "pixel":
        return _pixels, grey
    if callable(similarity):
        return similarity, lambda frame: frame
    raise ValueError(f"similarity is {similarity!r}; use ssim, pixel or a function of two frames")


def _pixels(first: np.ndarray, second: np.ndarray) -> float:
    if first.shape != second.shape:
        raise ValueError(f"the frames are {first.shape} and {second.shape} pixels; resize one to the other")
    return 1.0 - float(np.abs(first - second).mean()) / 255


_NAME = re.compile(r"(?P<video>[^@/]+)@(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)#(?P<number>\d+)")


@dataclass(frozen=True)
class KeyframeName:
    """Of the ``number``-th key frame (from 1) of the clip from ``start`` to ``end`` seconds: ``ID@10.0_55.0#2.jpg``."""

    video: str
    start: float
    end: float
    number: int

    def __post_init__(self) -> None:
        if not self.video or set(self.video) & set("@/"):
            raise ValueError(f"video is {self.video!r}; an id has neither @ nor / in it")
        if not 0 <= self.start <= self.end:
            raise ValueError(
                f"the clip goes from {self.start} to {self.end} s; times begin at 0 and do not go back"
            )

    def __str__(self) -> str:
        return f"{self.video}@{float(self.start)}_{float(self.end)}#{self.number}.jpg"

    @property
    def path(self) -> str:
        """Below the folder of its video, where the published corpus has it."""
        return f"{self.video}/{self}"

    @classmethod
    def parsed(cls, path: str) -> KeyframeName:
        """The name of a file, with or without folder and suffix. ValueError for another form."""
        found = _NAME.fullmatch(re.sub(r"\.(?:jpe?g|png)$", "", PurePosixPath(path).name))
        if found is None:
            raise ValueError(f"{path!r} is no key frame's name; the form is ID@START_END#NUMBER.jpg")
        return cls(found["video"], float(found["start"]), float(found["end"]), int(found["number"]))

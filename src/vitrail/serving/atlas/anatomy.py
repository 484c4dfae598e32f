"""The anatomy of a multimodal model and its life, as a drawing in which what a paper changes is lit.

Two layouts of the same parts: along the page for wide screens, down the page for phones. Lit parts differ by fill,
weight of their outline and a mark, so that nothing is said by colour alone; the drawing's name lists them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vitrail.papers.vocabulary import ANATOMY

FLOW = ("data", "tower", "connector", "language", "answers", "evaluation")
LANGUAGE = ("language.embeddings", "language.layers", "language.head")


@dataclass(frozen=True)
class Part:
    """One box: its name in ``ANATOMY``, label, place and size, and whether it is lit."""

    name: str
    label: str
    x: float
    y: float
    width: float
    height: float
    lit: bool


@dataclass(frozen=True)
class Drawing:
    """A layout: its boxes, the frame around the language model, and the lines between them as SVG paths.

    ``lines`` are ``(path, kind)``; ``"back"`` lines close the loop. ``loop`` is where the loop's label stands.
    """

    name: str
    width: float
    height: float
    parts: tuple[Part, ...]
    frame: tuple[float, float, float, float]
    lines: tuple[tuple[str, str], ...]


def drawings(lit: Collection[str]) -> tuple[Drawing, Drawing]:
    """The wide and the tall drawing with ``lit`` parts. ValueError for a part that the anatomy does not have."""
    wrong = [name for name in lit if name not in ANATOMY]
    if wrong:
        raise ValueError(f"the anatomy has no part {wrong[0]!r}; known: {', '.join(ANATOMY)}")
    return _wide(lit), _tall(lit)


def spoken(lit: Collection[str]) -> str:
    """What a screen reader says of the drawing."""
    names = [label for name, label in ANATOMY.items() if name in lit]
    said = ", ".join(names) if names else "no part of a model"
    return f"The life of a model, from data to evaluation. Lit: {said}."


def _wide(lit: Collection[str]) -> Drawing:
    y, height = 74.0, 50.0
    spots = {
        "data": (8, 84),
        "tower": (124, 84),
        "connector": (240, 104),
        "language.embeddings": (388, 112),
        "language.layers": (512, 80),
        "language.head": (604, 76),
        "answers": (724, 92),
        "evaluation": (848, 104),
    }
    parts = [_part(name, x, y, width, height, lit) for name, (x, width) in spots.items()]
    low, small = 176.0, 42.0
    parts += [
        _part("loop", 448, 6, 96, 34, lit),
        _part("schedule", 388, low, 112, small, lit),
        _part("objective", 512, low, 168, small, lit),
        _part("memory", 240, low, 104, small, lit),
        _part("world", 724, low, 92, small, lit),
    ]
    middle = y + height / 2
    flow = [(92, 124), (208, 240), (344, 376), (500, 512), (592, 604), (692, 724), (816, 848)]
    lines = [(f"M{a} {middle}H{b - 4}", "forward") for a, b in flow]
    lines += [
        (f"M596 {low}V{y + height + 16}", "forward"),
        (f"M444 {low}V{y + height + 16}", "forward"),
        (f"M292 {low}V{y + height + 4}", "both"),
        (f"M770 {low}V{y + height + 4}", "both"),
        (f"M900 {y}V23H548", "back"),
        (f"M448 23H50V{y - 4}", "back"),
    ]
    return Drawing("wide", 960, 226, tuple(parts), (376, 62, 316, 74), tuple(lines))


def _tall(lit: Collection[str]) -> Drawing:
    left, width, height = 54.0, 132.0, 36.0
    spots = {
        "data": 6,
        "tower": 64,
        "connector": 122,
        "language.embeddings": 192,
        "language.layers": 236,
        "language.head": 280,
        "answers": 350,
        "evaluation": 408,
    }
    parts = [_part(name, left, y, width, height, lit) for name, y in spots.items()]
    parts += [
        _part("memory", 216, 122, 84, height, lit),
        _part("schedule", 216, 207, 84, height, lit),
        _part("objective", 216, 265, 84, height, lit),
        _part("world", 216, 350, 84, height, lit),
        _part("loop", 0, 208, 40, height, lit),
    ]
    middle = left + width / 2
    ends = [(42, 64), (100, 122), (158, 182), (228, 236), (272, 280), (326, 350), (386, 408)]
    lines = [(f"M{middle} {a}V{b - 4}", "forward") for a, b in ends]
    lines += [
        ("M216 140H190", "both"),
        ("M216 225H200", "forward"),
        ("M216 283H200", "forward"),
        ("M216 368H190", "both"),
        ("M54 426H20V248", "back"),
        ("M20 208V24H50", "back"),
    ]
    return Drawing("tall", 304, 450, tuple(parts), (44, 182, 152, 144), tuple(lines))


def _part(name: str, x: float, y: float, width: float, height: float, lit: Collection[str]) -> Part:
    return Part(name, ANATOMY[name], x, y, width, height, name in lit)

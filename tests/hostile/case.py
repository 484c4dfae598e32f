"""Damaged, odd and malicious files for the readers: what each is, and what must come of it.

A case makes a file of rows (with pictures beside it) in an empty folder. ``good`` must be read, and its picture's
pixels be right; ``bad`` is a row that is refused or set aside, with its place; ``refused`` a file that cannot be opened
at all; ``either`` may be refused, but what is read must be right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image as PILImage

Outcome = Literal["good", "bad", "refused", "either"]


@dataclass(frozen=True)
class Case:
    """``make(folder)`` returns the path to open; ``pixels`` (rows, columns, 3) are what its picture must show."""

    name: str
    make: Callable[[Path], Any]
    outcome: Outcome
    words: str = ""
    pixels: np.ndarray | None = None
    tolerance: int = 0


def noise(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """A picture that does not compress well: a gradient under noise."""
    random = np.random.default_rng(seed).integers(0, 64, (height, width, 3))
    ramp = np.linspace(0, 190, width)[None, :, None]
    return (random + ramp).astype(np.uint8)


def saved(pixels: np.ndarray | PILImage.Image, kind: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    picture = pixels if isinstance(pixels, PILImage.Image) else PILImage.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(raw: bytes) -> np.ndarray:
    """The pixels of an ordinary picture, by Pillow alone."""
    return np.asarray(PILImage.open(io.BytesIO(raw)).convert("RGB"))


def row(path: Any = "a.png", **more: Any) -> dict[str, Any]:
    """A row that shows one picture."""
    return {"messages": [{"role": "user", "content": [{"type": "image", "path": path}, "What?"]}], **more}


def lines(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    """A JSONL file of rows (dicts, or the bytes of a line)."""
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in rows]
    (folder / name).write_bytes(b"\n".join(raw) + b"\n")
    return folder / name


def picture_case(name: str, raw: bytes, outcome: Outcome, words: str = "", **more: Any) -> Case:
    """A case of one row that shows a file of bytes ``raw``."""

    def make(folder: Path) -> Path:
        (folder / "a.png").write_bytes(raw)
        return lines(folder, row())

    return Case(name, make, outcome, words, **more)

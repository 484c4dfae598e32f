"""Who reads: pictures → the text that they show. ``rapidocr`` brings its models (extra ``lectures``).

A reader has ``read(pictures) -> [text, …]``, lines from top to bottom, and a ``fingerprint``. A vision-language model
reads through :class:`vitrail.curation.lectures.model_reader.ModelReader`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TextReader(Protocol):
    """What the operation ``textbook`` asks."""

    fingerprint: str

    def read(self, pictures: Sequence[Any]) -> list[str]:
        """The text of each picture (Pillow); empty where there is none."""


class RapidReader:
    """RapidOCR's detector and recogniser on ONNX Runtime; lines less certain than ``min_score`` are left out."""

    def __init__(self, min_score: float = 0.5) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError:
            raise ImportError("reading text needs rapidocr; install vitrail[lectures]") from None
        self._engine: Any = RapidOCR(params={"Global.log_level": "error", "Global.text_score": min_score})
        self.fingerprint = f"rapidocr:{metadata.version('rapidocr')}:{min_score}"

    def read(self, pictures: Sequence[Any]) -> list[str]:
        """See :class:`TextReader`."""
        import numpy as np

        found = []
        for picture in pictures:
            lines = self._engine(np.asarray(picture.convert("RGB"))[:, :, ::-1]).txts
            found.append("\n".join(lines or ()))
        return found

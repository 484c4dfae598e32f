"""Layout: what every token of a batch is.

Objectives, layer rules, token reduction and packing read it; nothing looks for markers in text. Fields are
``(batch, tokens)``; −1 means "does not apply".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Modality(IntEnum):
    """What a token stands for."""

    PADDING = -1
    TEXT = 0
    IMAGE = 1
    VIDEO = 2
    AUDIO = 3


class Speaker(IntEnum):
    """Who wrote a token: the chat template itself, or the content of a turn."""

    TEMPLATE = 0
    SYSTEM = 1
    USER = 2
    ASSISTANT = 3
    TOOL = 4


@dataclass(frozen=True)
class Layout:
    """For every token: packed segment, modality, media item, frame, row, column, speaker, loss weight, droppable.

    ``segment`` numbers the records packed into one row from 0, and is −1 at padding. ``item`` numbers the media of
    a segment in order of appearance. ``row`` and ``col`` count visual tokens within one frame (or tile), ``frame``
    frames of a video or tiles of a picture. ``droppable`` marks tokens that a reduction method may remove.
    """

    segment: Int[Tensor, "batch tokens"]
    modality: Int[Tensor, "batch tokens"]
    item: Int[Tensor, "batch tokens"]
    frame: Int[Tensor, "batch tokens"]
    row: Int[Tensor, "batch tokens"]
    col: Int[Tensor, "batch tokens"]
    speaker: Int[Tensor, "batch tokens"]
    weight: Float[Tensor, "batch tokens"]
    droppable: Bool[Tensor, "batch tokens"]

    def __post_init__(self) -> None:
        shapes = {name: tuple(value.shape) for name, value in self._fields().items()}
        if len(set(shapes.values())) != 1 or self.segment.ndim != 2:
            raise ValueError(f"every field of a layout is (batch, tokens); got {shapes}")

    def _fields(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def shape(self) -> torch.Size:
        """``(batch, tokens)``."""
        return self.segment.shape

    @property
    def visual(self) -> Bool[Tensor, "batch tokens"]:
        """True at tokens of pictures and videos."""
        return (self.modality == Modality.IMAGE) | (self.modality == Modality.VIDEO)

    @property
    def present(self) -> Bool[Tensor, "batch tokens"]:
        """True where there is a token, False at padding: the attention mask."""
        return self.segment >= 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        """The same layout on another device."""
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self._fields().items()}
        return Layout(**moved)

    def repeat_interleave(self, times: int) -> Layout:
        """Each row ``times`` times in a row, as beam search and sampling expand a batch."""
        return Layout(
            **{name: value.repeat_interleave(times, dim=0) for name, value in self._fields().items()}
        )

    def rows(self, index: Int[Tensor, "kept"]) -> Layout:
        """The layout of some rows, by number; a row may come several times."""
        return Layout(**{name: value[index] for name, value in self._fields().items()})

    def take(self, index: Int[Tensor, "batch kept"]) -> Layout:
        """The layout of the tokens that are kept: ``index`` holds their positions, sorted, for each row."""
        return Layout(**{name: value.gather(1, index) for name, value in self._fields().items()})

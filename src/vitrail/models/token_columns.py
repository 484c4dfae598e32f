"""The columns of a record's tokens while it is encoded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from vitrail.models.layout import Modality, Speaker
from vitrail.models.tokenising import Before, PieceTokenizer

COLUMNS = ("input_ids", "labels", "weight", "modality", "item", "frame", "row", "col", "speaker")
"""What is known of every token of a record."""


@dataclass
class TokenColumns:
    """Columns that grow piece by piece. Text is held back until it is whole, so that pieces may share a token.

    ``before`` is what the next piece follows; ``opening`` what the template wrote for an answer to begin with.
    """

    pieces: PieceTokenizer
    before: Before = "nothing"
    opening: str = ""
    held: list[tuple[str, Speaker, float]] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def text(self, text: str, speaker: Speaker, weight: float) -> None:
        """Plain text of a speaker."""
        if text:
            self.held.append((text, speaker, weight))

    def take_opening(self) -> str:
        """What the template wrote in front of an answer and the answer begins with."""
        opening, self.opening = self.opening, ""
        return opening

    def special(self, token: int, speaker: Speaker, weight: float = 0.0) -> None:
        """A special token."""
        self.flush()
        self._append([token], speaker, weight)
        self.before = "special"

    def picture(self, token: int, item: int, coords: np.ndarray) -> None:
        """A run of visual tokens."""
        self.flush()
        count = len(coords)
        places = coords.T.tolist() if count else [[], [], []]
        values = (
            [token] * count,
            [-100] * count,
            [0.0] * count,
            [int(Modality.IMAGE)] * count,
            [item] * count,
            *places,
        )
        for column, more in zip(self.columns.values(), (*values, [int(Speaker.USER)] * count), strict=True):
            column += more
        self.before = "special"

    def cut(self) -> None:
        """No token may stand for characters on both sides of here."""
        self.flush()

    def flush(self) -> None:
        """Tokenise what is held back."""
        if not self.held:
            return
        text = "".join(piece for piece, _, _ in self.held)
        own = all(speaker == Speaker.TEMPLATE for _, speaker, _ in self.held)
        found = self.pieces.kept(text, self.before) if own else self.pieces(text, self.before)
        held, self.held, self.before = self.held, [], "text"
        if len(held) == 1:
            self._append(found.ids, *held[0][1:])
            return
        ends = list(accumulate(len(piece) for piece, _, _ in held))
        for token, (begin, end) in zip(found.ids, found.spans, strict=True):
            owner = bisect_right(ends, max(begin, end - 1))
            self._append([token], *held[min(owner, len(held) - 1)][1:])

    def _append(self, ids: Sequence[int], speaker: Speaker, weight: float) -> None:
        learnt = speaker == Speaker.ASSISTANT and weight > 0
        count = len(ids)
        nowhere = [-1] * count
        values: tuple[Sequence[Any], ...] = (
            ids,
            ids if learnt else [-100] * count,
            [weight if learnt else 0.0] * count,
            [int(Modality.TEXT)] * count,
            nowhere,
            nowhere,
            nowhere,
            nowhere,
            [int(speaker)] * count,
        )
        for column, more in zip(self.columns.values(), values, strict=True):
            column += more

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns, whole."""
        self.flush()
        kinds = {"weight": np.float32}
        return {
            name: np.asarray(column, dtype=kinds.get(name, np.int64)) for name, column in self.columns.items()
        }

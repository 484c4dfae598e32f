"""Counts over a source: records, turns, pictures, lengths of texts, sizes of pictures."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from vitrail.data.decoding import PICTURE_FORMATS
from vitrail.data.media import media_of
from vitrail.data.records import Chat, Image, Record, Video
from vitrail.data.sources import Source

LIMIT = 2000
"""Sources of more records than this are summarised from so many, drawn by a seed."""

SHARES = 12
"""Values listed of a field in ``meta``; the rest are added up."""


@dataclass(frozen=True)
class Summary:
    """``totals`` are counts over the records looked at, ``spread`` least, median, 95th percentile and most,
    ``shares`` how many records have which kind. ``scope`` says in words which records these are.
    """

    scope: str
    records: int
    totals: dict[str, int]
    spread: dict[str, list[int]]
    shares: dict[str, dict[str, int]]


def summarise(source: Source, limit: int = LIMIT, seed: int = 0) -> Summary:
    """Counts over a source, or over ``limit`` of its records when it has more."""
    total = len(source)
    indices: Sequence[int] = range(total)
    scope = f"Over all {total:,} records."
    if total > limit:
        order = np.argsort(np.random.Philox(key=seed).random_raw(total), kind="stable")
        indices = sorted(int(index) for index in order[:limit])
        scope = f"Over {limit:,} of {total:,} records, drawn with seed {seed}."
    tally = _Tally(source.root)
    for index in indices:
        tally.add(source[index])
    return tally.summary(scope)


class _Tally:
    def __init__(self, root: Path | None):
        self.root = root
        self.totals: Counter[str] = Counter()
        self.values: dict[str, list[int]] = {}
        self.kinds: Counter[str] = Counter()
        self.names: dict[str, Counter[str]] = {}

    def add(self, record: Record) -> None:
        """Count one record."""
        self.totals["records"] += 1
        self.kinds[getattr(record, "kind", "record")] += 1
        for field in ("kind", "names"):
            if isinstance(record.meta.get(field), str):
                self.names.setdefault(f"meta.{field}", Counter())[record.meta[field]] += 1
        media = [medium for path, medium in media_of(record) if ".frames[" not in path]
        pictures = [medium for medium in media if isinstance(medium, Image)]
        self.totals["pictures"] += len(pictures)
        self.totals["videos"] += sum(isinstance(medium, Video) for medium in media)
        self._note("pictures a record", len(pictures))
        for picture in pictures:
            self._size(picture)
        if isinstance(record, Chat):
            self._chat(record)

    def _chat(self, chat: Chat) -> None:
        self.totals["turns"] += len(chat.messages)
        self.totals["multiple choice"] += chat.choices is not None
        self._note("turns a record", len(chat.messages))
        for message in chat.messages:
            self._note(f"characters of a {message.role} turn", len(message.text))

    def _size(self, picture: Image) -> None:
        width, height = picture.width, picture.height
        if width is None or height is None:
            try:
                with PILImage.open(io.BytesIO(picture.read(self.root)), formats=PICTURE_FORMATS) as opened:
                    width, height = opened.size
            except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError):
                self.totals["pictures not readable"] += 1
                return
        self._note("picture width", width)
        self._note("picture height", height)

    def _note(self, name: str, value: int) -> None:
        self.values.setdefault(name, []).append(value)

    def summary(self, scope: str) -> Summary:
        """What was counted."""
        spread = {}
        for name, values in self.values.items():
            x = np.asarray(values)
            marks = [
                x.min(),
                np.quantile(x, 0.5, method="higher"),
                np.quantile(x, 0.95, method="higher"),
                x.max(),
            ]
            spread[name] = [int(mark) for mark in marks]
        shares = {name: _listed(counts) for name, counts in {"kind": self.kinds, **self.names}.items()}
        if len(self.kinds) == 1:
            del shares["kind"]
        totals = {name: count for name, count in self.totals.items() if count}
        return Summary(scope, self.totals["records"], totals, spread, shares)


def _listed(counts: Counter[str]) -> dict[str, int]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = dict(ordered[:SHARES])
    rest = sum(count for _, count in ordered[SHARES:])
    return {**listed, f"{len(ordered) - SHARES} others": rest} if rest else listed

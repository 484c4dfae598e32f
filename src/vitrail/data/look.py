"""A contact sheet: one HTML page that shows records as they are, with counts and with what was set aside.

Pictures stand where the conversation has them, regions and points are drawn over the pictures they speak of,
videos are strips of frames, the right option is marked. Nothing is loaded from outside the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.drawing import shapes_of
from vitrail.data.records import (
    Action,
    Audio,
    Chat,
    Document,
    Episode,
    Group,
    Image,
    Message,
    Points,
    Record,
    Region,
    Span,
    Text,
    ToolCall,
    Video,
)
from vitrail.data.sources import SetAside, Source, set_aside_of
from vitrail.data.summary import summarise
from vitrail.reporting import DataTable, Headline, KeyValues, Notice, Page, Picture, embed
from vitrail.reporting.page import number, render

FRAMES = 8
"""Frames shown of a video, evenly spaced."""

STEPS = 12
"""Steps shown of an episode."""

SHOWN_ASIDE = 200
"""Rows listed of those set aside; all are counted."""


def contact_sheet(source: Source, out: Path | str, n: int = 60, seed: int = 0) -> Path:
    """Write a page that shows ``n`` records of ``source``, drawn by ``seed``, in their order; returns where.

    ValueError for an ``n`` below 1. A picture that cannot be read is said so in its place.
    """
    if n < 1:
        raise ValueError(f"n is {n}; give 1 or more records to show.")
    # Raw bits never change between numpy's versions, so neither does the draw.
    order = np.argsort(np.random.Philox(key=seed).random_raw(len(source)), kind="stable")
    chosen = sorted(int(index) for index in order[:n])
    subtitle = f"{len(source):,} records, {len(chosen)} of them below. Fingerprint {source.fingerprint[:16]}."
    page = Page(source.name, subtitle)
    _counts(page, source, seed)
    _set_aside(page, set_aside_of(source))
    shown = page.section("Records", f"Drawn with seed {seed}, shown in the order of the source.")
    shown.add(_Records([_Card.of(source, index) for index in chosen]))
    return page.write(out)


def _counts(page: Page, source: Source, seed: int) -> None:
    found = summarise(source, seed=seed)
    section = page.section("Counts", found.scope)
    section.add(Headline([(name, number(count), "") for name, count in found.totals.items()]))
    if found.spread:
        columns = ["", "least", "median", "95 % below", "most"]
        section.add(DataTable(columns, [[name, *values] for name, values in found.spread.items()]))
    for name, counts in found.shares.items():
        total = sum(counts.values())
        rows = [[value, count, f"{100 * count / total:.1f} %"] for value, count in counts.items()]
        section.add(DataTable([name, "records", "share"], rows))


def _set_aside(page: Page, aside: SetAside) -> None:
    if not aside.rows:
        return
    section = page.section("Set aside", "Rows that cannot be records, and why. They are in no count above.")
    section.add(Notice(aside.sentence(), "warning"), KeyValues(aside.by_field(), caption="Rows by field"))
    rows = [[bad.line, bad.id or "–", bad.field or "the row", bad.reason] for bad in aside.rows[:SHOWN_ASIDE]]
    more = f" (the first {SHOWN_ASIDE} of {len(aside.rows):,})" if len(aside.rows) > SHOWN_ASIDE else ""
    section.add(DataTable(["line", "id", "field", "reason"], rows, caption=f"{aside.rows[0].file}{more}"))


@dataclass
class _Part:
    text: str = ""
    chip: str = ""
    pictures: list[Picture] = field(default_factory=list)
    strip: bool = False


@dataclass
class _Option:
    parts: list[_Part]
    truth: bool


@dataclass
class _Turn:
    role: str
    style: str
    parts: list[_Part]
    options: list[_Option] = field(default_factory=list)


@dataclass
class _Card:
    where: str
    kind: str
    turns: list[_Turn]
    meta: str

    @classmethod
    def of(cls, source: Source, index: int) -> _Card:
        """The card of one record of a source."""
        record = source[index]
        kind = str(record.meta.get("kind") or getattr(record, "kind", ""))
        place = f"record {index}" + (f", line {source.line(index)}" if hasattr(source, "line") else "")
        where = f"{place} · {record.id}" if record.id is not None else place
        meta = json.dumps(record.meta, indent=1, ensure_ascii=False, default=str) if record.meta else ""
        return cls(where, kind, _Reader(record, source.root).turns(), meta)


@dataclass(frozen=True)
class _Records:
    cards: Sequence[_Card]

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        return render("records", cards=self.cards, kinds=sorted({card.kind for card in self.cards}))


class _Reader:
    """Turns one record into what the template shows; counts its pictures, as regions name them."""

    def __init__(self, record: Record, root: Path | None):
        self.record, self.root = record, root
        self.seen = 0
        self.shapes = shapes_of(record)

    def turns(self) -> list[_Turn]:
        """Every part of the record, in order."""
        record = self.record
        if isinstance(record, Chat):
            turns = [self._message(message) for message in record.messages]
            if record.choices is not None:
                options = [
                    _Option(self._parts(option), place == record.choices.answer)
                    for place, option in enumerate(record.choices.options)
                ]
                turns.append(_Turn("options", "options-turn", [], options))
            rejected = record.rejected or ()
            return turns + [_Turn(f"rejected {m.role}", "rejected", self._parts(m.content)) for m in rejected]
        if isinstance(record, Document):
            return [_Turn("document", "user", self._parts(record.content))]
        if isinstance(record, Group):
            return [
                _Turn(f"{record.relation} {place + 1}", "user", self._parts(item))
                for place, item in enumerate(record.items)
            ]
        assert isinstance(record, Episode)
        return self._episode(record)

    def _message(self, message: Message) -> _Turn:
        weight = "" if message.weight == 1 else f" (loss weight {message.weight:g})"
        return _Turn(f"{message.role}{weight}", message.role, self._parts(message.content))

    def _episode(self, episode: Episode) -> list[_Turn]:
        turns = [_Turn("goal", "system", self._parts(episode.goal))] if episode.goal else []
        for place, step in enumerate(episode.steps[:STEPS]):
            parts = self._parts(step.observation)
            if step.action is not None:
                parts.append(_Part(chip=f"action {step.action.value}"))
            if step.reward is not None:
                parts.append(_Part(chip=f"reward {step.reward:g}"))
            turns.append(_Turn(f"step {place}", "user", parts))
        left = len(episode.steps) - STEPS
        return turns + ([_Turn("…", "tool", [_Part(text=f"{left} more steps")])] if left > 0 else [])

    def _parts(self, content: Iterable[Any]) -> list[_Part]:
        return [self._part(part) for part in content]

    def _part(self, part: Any) -> _Part:
        if isinstance(part, Text):
            return _Part(text=part.text)
        if isinstance(part, Image):
            place, self.seen = self.seen, self.seen + 1
            return self._pictures([part], [self.shapes.still(place)])
        if isinstance(part, Video):
            place, self.seen = self.seen, self.seen + 1
            return self._video(part, place)
        if isinstance(part, Audio):
            return _Part(chip=_named(part))
        if isinstance(part, (Region, Points)):
            return _Part(chip=_spoken(part))
        if isinstance(part, Span):
            return _Part(chip=f"characters {part.start} to {part.end}: {part.label or 'span'}")
        if isinstance(part, ToolCall):
            return _Part(chip=f"{part.name}({json.dumps(part.arguments, ensure_ascii=False)})")
        assert isinstance(part, Action)
        return _Part(chip=f"action {part.value}")

    def _video(self, video: Video, place: int) -> _Part:
        if video.frames is None:
            return _Part(chip=_named(video))
        last = len(video.frames) - 1
        picks = sorted({round(last * step / max(1, FRAMES - 1)) for step in range(FRAMES)})
        part = self._pictures(
            [video.frames[pick] for pick in picks],
            [self.shapes.frame(place, pick) for pick in picks],
            [f"frame {pick}" for pick in picks],
        )
        part.strip = bool(part.pictures)
        return part

    def _pictures(
        self, images: Sequence[Image], shapes: Sequence[Any], captions: Sequence[str] = ("",)
    ) -> _Part:
        made = []
        for image, over, caption in zip(images, shapes, captions, strict=True):
            try:
                alt = caption or f"Picture {self.seen} of the record"
                made.append(
                    embed(image.read(self.root), alt, over, caption, max_side=160 if caption else 320)
                )
            except (ValueError, OSError) as error:
                return _Part(chip=f"picture not shown: {error}")
        return _Part(pictures=made)


def _named(medium: Audio | Video) -> str:
    return f"{medium.type} {medium.path or medium.url or f'{len(medium.bytes or bytes()):,} bytes'}"


def _spoken(part: Region | Points) -> str:
    label = f" {part.label}" if part.label else ""
    if isinstance(part, Points):
        return f"{len(part.points)} point{'s' if len(part.points) != 1 else ''}{label}"
    shapes = ("box", "rotated", "quad", "mask", "box3d", "track")
    shape = next(name for name in shapes if getattr(part, name) is not None)
    value = getattr(part, shape)
    if shape == "track":
        return f"track{label} over {len(value)} frames"
    if shape == "mask":
        return f"mask{label}"
    return f"{shape}{label} ({', '.join(f'{round(x, 1):g}' for x in value)})"

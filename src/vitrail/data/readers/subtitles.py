"""Subtitles of the SubRip form (``.srt``): which words are on the screen at a time.

Cues are a number, a line ``HH:MM:SS,mmm --> HH:MM:SS,mmm``, and lines of text; markup such as ``<i>`` is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d{1,3})")
_MARKUP = re.compile(r"<[^>]+>|\{\\[^}]*\}")


@dataclass(frozen=True)
class Cue:
    """``text`` from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class SubtitleTrack:
    """Cues in the order of time."""

    cues: tuple[Cue, ...]

    @classmethod
    def from_srt(cls, path: Path | str) -> SubtitleTrack:
        """The cues of a file. ValueError naming file and line for a time that is none, or an end before its start."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise ValueError(f"{path.name} cannot be read: {error}") from None
        return cls.parsed(text, path.name)

    @classmethod
    def parsed(cls, text: str, name: str = "subtitles") -> SubtitleTrack:
        """The cues of a text; see :meth:`from_srt`."""
        cues: list[Cue] = []
        times: tuple[float, float] | None = None
        words: list[str] = []

        def close() -> None:
            if times is not None and (said := _MARKUP.sub("", " ".join(words)).strip()):
                cues.append(Cue(*times, " ".join(said.split())))

        lines = text.splitlines()
        for number, line in enumerate(lines, start=1):
            line = line.strip()
            if "-->" in line:
                close()
                times, words = _interval(line, f"{name}, line {number}"), []
            elif line and not (line.isdigit() and number < len(lines) and "-->" in lines[number]):
                words.append(line)
        close()
        return cls(tuple(sorted(cues, key=lambda cue: cue.start)))

    def at(self, times: Sequence[float], dedupe: bool = True) -> list[str]:
        """For each time in order the first cue with start ≤ t < end, if any; ``dedupe``: each cue once."""
        found: list[str] = []
        seen: set[int] = set()
        for time in sorted(times):
            place = next((i for i, cue in enumerate(self.cues) if cue.start <= time < cue.end), None)
            if place is not None and not (dedupe and place in seen):
                found.append(self.cues[place].text)
                seen.add(place)
        return found

    def all(self) -> list[str]:
        """Every cue."""
        return [cue.text for cue in self.cues]


def _interval(line: str, where: str) -> tuple[float, float]:
    found = _TIMES.search(line)
    if found is None:
        raise ValueError(f"{where}: {line!r} must be HH:MM:SS,mmm --> HH:MM:SS,mmm")
    parts = [int(one) for one in found.groups()]
    millis = [one.ljust(3, "0") for one in (found[4], found[8])]
    start, end = (
        parts[at] * 3600 + parts[at + 1] * 60 + parts[at + 2] + int(milli) / 1000
        for at, milli in zip((0, 4), millis, strict=True)
    )
    if end < start:
        raise ValueError(f"{where}: the cue ends at {end:g} s, before it begins at {start:g} s")
    return start, end

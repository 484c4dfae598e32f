"""What a textbook is about: Subject > Course > Sub-course > Knowledge point, each point a search for videos.

A language model writes it level by level (Multimodal Textbook, arXiv 2501.00958: 6 subjects, 55 courses, 3,915 points).
Videos found by anybody's downloader carry the point as ``query`` in their ``.info.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitrail.storage.atomic import write_text

if TYPE_CHECKING:
    from vitrail.inference.answerers import Answerer

LEVELS = ("subject", "course", "sub-course", "knowledge point")
PROMPT = """\
A curriculum has four levels: subject, course, sub-course, knowledge point. Name up to {count} of the level "{level}" \
that belong to: {path}. Write one a line, nothing else.
"""
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s*")


@dataclass(frozen=True)
class Point:
    """A knowledge point with what it stands under."""

    subject: str
    course: str
    sub_course: str
    name: str

    @property
    def query(self) -> str:
        """The words to search for."""
        return f"{self.name} {self.sub_course}"


def grow(
    subjects: Sequence[str], answerer: Answerer, counts: tuple[int, int, int] = (10, 8, 10)
) -> list[Point]:
    """The points that a model names under ``subjects``; a name that is there already at its place counts once.

    ``counts``: how many courses, sub-courses and points to ask for at each place. ValueError without a subject.
    """
    if not subjects:
        raise ValueError("subjects is empty; name one or more, such as mathematics")
    paths: list[tuple[str, ...]] = [(one,) for one in dict.fromkeys(subjects)]
    for level, count in zip(LEVELS[1:], counts, strict=True):
        paths = [(*path, name) for path in paths for name in _named(path, level, count, answerer)]
    return [Point(*path) for path in paths]


def _named(path: tuple[str, ...], level: str, count: int, answerer: Answerer) -> list[str]:
    from vitrail.inference.answerers import question

    asked = PROMPT.format(count=count, level=level, path=" > ".join(path))
    lines = answerer.ask([question(asked)])[0].text.splitlines()
    names = dict.fromkeys(name for line in lines if (name := _BULLET.sub("", line).strip().rstrip(".")))
    return list(names)[:count]


def write_points(points: Sequence[Point], path: Path | str) -> None:
    """A line of JSON for each point."""
    write_text(Path(path), "".join(json.dumps(vars(one), ensure_ascii=False) + "\n" for one in points))


def read_points(path: Path | str) -> Iterator[Point]:
    """The points of a file. ValueError naming the line that is none."""
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), start=1):
        try:
            yield Point(**json.loads(line))
        except (TypeError, ValueError):
            names = "subject, course, sub_course, name"
            raise ValueError(
                f"{path}, line {number}: is no knowledge point; give the fields {names}"
            ) from None

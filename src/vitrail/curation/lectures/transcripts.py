"""What is said in a lesson, with its times: joined to clips, judged, and rewritten by a language model.

The Multimodal Textbook (arXiv 2501.00958) merges a recogniser's fragments to paragraphs and cuts the video at their
times into clips of 10 to 20 seconds. A model judges the raw transcript by three criteria, and another rewrites it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrail.inference.answerers import Answerer

CRITERIA = ("relevance", "density", "quality")
JUDGE = """\
Below are the title of a video and what is said in it, as a machine heard it. Give three numbers from 0 to 10:

relevance: how much it is about {topic}.
density: how much of it teaches something, rather than greeting, advertising or filling time.
quality: how readable it is; repeated or garbled passages take points.

Title: {title}
Said: {text}

Answer with three lines "relevance: N", "density: N", "quality: N".
"""
REFINE = """\
Below is a passage of a lesson as a machine heard it. Write it again so that it reads fluently: correct punctuation, \
spelling and misheard words, leave out filler. Keep the meaning, every fact, number and formula; add nothing. Answer \
with the passage alone.

{text}
"""
"""The prompts are ours; the paper describes its own and does not print them in full."""


@dataclass(frozen=True)
class Segment:
    """``text`` said from ``start`` to ``end``, in seconds. ValueError for times that are negative or go back."""

    start: float
    end: float
    text: str

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(
                f"a segment goes from {self.start} to {self.end} s; times begin at 0 and do not go back"
            )


def merge_segments(segments: Sequence[Segment], min_s: float = 10.0, max_s: float = 20.0) -> list[Segment]:
    """Neighbours joined, in the order of time, to stretches of ``min_s`` to ``max_s`` seconds where that is possible.

    A stretch ends when it has ``min_s`` seconds, or when the next segment would take it beyond ``max_s``; a segment
    longer than that stays alone, none is divided. Texts of the result are those of the segments, each once.
    """
    if not 0 <= min_s <= max_s:
        raise ValueError(f"min_s is {min_s} and max_s {max_s}; min_s must be 0 to max_s")
    merged: list[Segment] = []
    for segment in sorted(segments, key=lambda one: (one.start, one.end)):
        last = merged[-1] if merged else None
        end = max(segment.end, last.end) if last else segment.end
        if last and last.end - last.start < min_s and end - last.start <= max_s:
            merged[-1] = Segment(last.start, end, f"{last.text} {segment.text}".strip())
        else:
            merged.append(Segment(segment.start, segment.end, segment.text.strip()))
    return merged


def judged(
    text: str, title: str, topic: str, answerer: Answerer, max_characters: int = 12_000
) -> dict[str, int]:
    """The scores of the three criteria. ValueError for an answer that lacks one: the video is set aside, not 0."""
    from vitrail.inference.answerers import question
    from vitrail.inference.generation import GenerationSettings

    asked = JUDGE.format(topic=topic, title=title, text=text[:max_characters])
    answer = answerer.ask([question(asked)], GenerationSettings(max_new_tokens=64))[0].text
    found: dict[str, int] = {}
    for name in CRITERIA:
        score = re.search(rf"{name}\W{{0,6}}(\d+)", answer, re.IGNORECASE)
        if score is None or int(score[1]) > 10:
            raise ValueError(f"the judge's answer has no {name} from 0 to 10: {answer[:80]!r}")
        found[name] = int(score[1])
    return found


def refined(segments: Sequence[Segment], answerer: Answerer, max_change: float = 0.5) -> list[Segment]:
    """The segments rewritten. An answer that is empty, or whose length differs by more than the share ``max_change``,
    has not kept the meaning: its segment stays as it was.
    """
    from vitrail.inference.answerers import question
    from vitrail.inference.generation import GenerationSettings

    room = max((len(one.text) for one in segments), default=0)
    settings = GenerationSettings(max_new_tokens=max(64, room))
    replies = answerer.ask([question(REFINE.format(text=one.text)) for one in segments], settings)
    found = []
    for segment, reply in zip(segments, replies, strict=True):
        text = " ".join(reply.text.split())
        alike = abs(len(text) - len(segment.text)) <= max_change * len(segment.text)
        whole = bool(text) and reply.finished and alike
        found.append(Segment(segment.start, segment.end, text) if whole else segment)
    return found

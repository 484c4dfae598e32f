"""Fragments of lessons in the order of time, packed to samples, and taken apart again (arXiv 2501.00958).

A fragment is a key frame, a text on the screen, or a stretch of speech: {frame, frame, ocr, asr, asr, frame, …}.
Packing goes on across the ends of videos, each of which a marker says; no fragment is divided.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vitrail.curation.lectures.transcripts import Segment
from vitrail.data.records import Document, Image, Text

END_OF_VIDEO = "End of Video"
Kind = Literal["frame", "ocr", "asr", "end"]


@dataclass(frozen=True)
class Fragment:
    """``part`` of the lesson at ``time`` seconds."""

    kind: Kind
    time: float
    part: Text | Image


@dataclass(frozen=True)
class Clip:
    """What was ``said`` in a stretch, its key ``frames`` with their times, and what each shows as text.

    A clip whose pictures do not fit what is said has no frames; its text stays.
    """

    said: Segment
    frames: tuple[tuple[float, Image], ...] = ()
    ocr: tuple[str, ...] = ()


def assemble(clips: Sequence[Clip], end_of_video: str | None = END_OF_VIDEO) -> list[Fragment]:
    """Of each clip its frames, each before its text on the screen, then what is said; a marker at the end.

    Times never go back. ValueError for clips out of order.
    """
    found: list[Fragment] = []
    for clip in clips:
        texts = clip.ocr or ("",) * len(clip.frames)
        for (time, image), text in zip(clip.frames, texts, strict=True):
            found.append(Fragment("frame", time, image))
            if text:
                found.append(Fragment("ocr", time, Text(text=text)))
        if clip.said.text:
            time = max([clip.said.start, *(time for time, _ in clip.frames)])
            found.append(Fragment("asr", time, Text(text=clip.said.text)))
    times = [one.time for one in found]
    if times != sorted(times):
        place = next(n for n in range(1, len(times)) if times[n] < times[n - 1])
        raise ValueError(
            f"fragment {place} is at {times[place]} s, before the one it follows; sort the clips by time"
        )
    if end_of_video is not None and found:
        found.append(Fragment("end", times[-1], Text(text=end_of_video)))
    return found


def ocr_novelty_filter(texts: Sequence[str], alike: float = 0.8) -> list[str]:
    """Texts of successive frames; one like the last one shown (difflib's ratio ≥ ``alike``) becomes empty."""
    if not 0 <= alike <= 1:
        raise ValueError(f"alike is {alike}; give 0 to 1")
    found, shown = [], ""
    for text in texts:
        text = " ".join(text.split())
        old = bool(shown) and difflib.SequenceMatcher(None, shown, text, autojunk=False).ratio() >= alike
        found.append("" if old else text)
        shown = text if text and not old else shown
    return found


def pack_fragments(
    fragments: Iterable[Fragment], tokens: Callable[[Any], int], max_tokens: int, max_images: int = 12
) -> list[list[Fragment]]:
    """Samples of fragments in their order, each within ``max_tokens`` and ``max_images``, filled one after the other.

    ``tokens``: of a text or picture. Concatenated, the samples are the fragments. ValueError for a fragment that is
    longer than a sample.
    """
    if max_tokens < 1 or max_images < 1:
        raise ValueError(f"max_tokens is {max_tokens} and max_images {max_images}; give 1 or more")
    samples: list[list[Fragment]] = []
    used = pictures = 0
    for number, fragment in enumerate(fragments):
        size, image = tokens(fragment.part), int(isinstance(fragment.part, Image))
        if size > max_tokens:
            raise ValueError(
                f"fragment {number} ({fragment.kind}) has {size} tokens and a sample {max_tokens}; raise max_tokens"
            )
        if not samples or used + size > max_tokens or pictures + image > max_images:
            samples.append([])
            used = pictures = 0
        samples[-1].append(fragment)
        used, pictures = used + size, pictures + image
    return samples


def unpack_fragments(samples: Iterable[Sequence[Fragment]]) -> list[list[Fragment]]:
    """The fragments of each video, from the samples of :func:`pack_fragments`."""
    videos: list[list[Fragment]] = [[]]
    for fragment in (one for sample in samples for one in sample):
        videos[-1].append(fragment)
        if fragment.kind == "end":
            videos.append([])
    return videos if videos[-1] else videos[:-1]


def shuffle_image_order(documents: Sequence[Document], fraction: float, seed: int) -> list[Document]:
    """The documents, in a ``fraction`` of which (drawn by ``seed``) pictures change places among each other.

    Texts and the multiset of pictures stay. ValueError for a fraction that is not 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; give 0 to 1")
    draw = random.Random(seed)
    chosen = set(draw.sample(range(len(documents)), round(fraction * len(documents))))
    return [_shuffled(one, draw) if place in chosen else one for place, one in enumerate(documents)]


def _shuffled(document: Document, draw: random.Random) -> Document:
    images = [part for part in document.content if isinstance(part, Image)]
    draw.shuffle(images)
    left = iter(images)
    content = tuple(next(left) if isinstance(part, Image) else part for part in document.content)
    return document.model_copy(update={"content": content})

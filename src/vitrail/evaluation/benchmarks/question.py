"""One question of a benchmark: the record that all of them share.

It is made when the files are read; pictures and frames are opened when it becomes a :class:`vitrail.data.records.Chat`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Chat, Choices, Content, Image, Message, Text
from vitrail.evaluation.benchmarks.clips import Clip
from vitrail.evaluation.benchmarks.table import Table
from vitrail.evaluation.reading import LETTERS


@dataclass(frozen=True)
class Stored:
    """Picture number ``index`` of those that row ``line`` of a table holds."""

    table: Table
    line: int
    index: int

    def image(self) -> Image:
        """The picture. :class:`FieldError` where the row holds fewer."""
        pictures = self.table.pictures(self.line)
        if self.index >= len(pictures):
            raise FieldError(
                "image", f"holds {len(pictures)} pictures, and number {self.index + 1} is asked for"
            )
        return Image(bytes=pictures[self.index])


@dataclass(frozen=True)
class Subtitled:
    """A clip, and behind its frames the subtitles that go with them, between ``before`` and ``after``.

    Without a cue at any frame there is no text. ``dedupe``: a cue is not repeated.
    """

    clip: Clip
    track: str
    before: str = ""
    after: str = "\n"
    dedupe: bool = True

    def opened(self, root: Path) -> tuple[Content, ...]:
        """Frames, and text where there is any. ValueError for a video or a file of subtitles that cannot be read."""
        from vitrail.data.readers.subtitles import SubtitleTrack

        images, times = self.clip.timed(root)
        said = SubtitleTrack.from_srt(root / self.track).at(times, self.dedupe)
        return (*images, Text(text=self.before + "\n".join(said) + self.after)) if said else images


Part = Text | Image | Clip | Stored | Subtitled


@dataclass(frozen=True)
class BenchmarkQuestion:
    """A question with options, or with an answer in words.

    ``content`` is what the user says, pictures in place. ``options`` are texts, or pictures; ``answer`` is the right
    one's index. ``reference`` is the answer of a question without options. ``kind`` is the ability (a dimension, a
    task) that scores are told apart by, ``groups`` what else the official score needs, ``cluster`` the picture.
    ``earlier`` are turns before it (demonstrations), ``system`` what is said before them. ``candidates``: pictures to
    compare a made one with. ``needs``: what a model must be able to do to be asked at all; such a question is not run.
    """

    id: str
    content: tuple[Part, ...]
    kind: str
    cluster: str
    options: tuple[Part, ...] = ()
    answer: int | None = None
    reference: str | None = None
    groups: Mapping[str, Any] = field(default_factory=dict)
    earlier: tuple[tuple[Part, ...], ...] = ()
    needs: str = ""
    candidates: tuple[Part, ...] = ()
    system: str = ""

    def chat(self, root: Path) -> Chat:
        """The question as a record, its pictures and frames in place. ValueError for one that cannot be opened."""
        if self.needs:
            raise ValueError(f"needs a model that {self.needs}; not run")
        messages = [Message(role="system", content=(Text(text=self.system),))] if self.system else []
        messages += [
            Message(role=("user", "assistant")[place % 2], content=opened(turn, root))  # type: ignore[arg-type]
            for place, turn in enumerate(self.earlier)
        ]
        messages.append(Message(role="user", content=opened(self.content, root)))
        choices = None
        if self.options:
            options = tuple(opened((option,), root) for option in self.options)
            choices = Choices(options=options, answer=self.answer)
        else:
            messages.append(Message(role="assistant", content=(Text(text=self.reference or ""),)))
        meta = {"kind": self.kind, "picture": self.cluster, "groups": dict(self.groups)}
        return Chat(id=self.id, messages=tuple(messages), choices=choices, meta=meta)

    def paths(self) -> list[str]:
        """Of its pictures and videos beside the files."""
        every = [
            *self.content,
            *self.options,
            *self.candidates,
            *(part for turn in self.earlier for part in turn),
        ]
        found = [part.path for part in every if isinstance(part, (Image, Clip)) and part.path is not None]
        subtitled = [part for part in every if isinstance(part, Subtitled)]
        return found + [path for part in subtitled for path in (part.clip.path, part.track)]


def opened(parts: Sequence[Part], root: Path) -> tuple[Content, ...]:
    """Content with its clips as frames, one behind the other, and its stored pictures fetched."""
    found: list[Content] = []
    for part in parts:
        if isinstance(part, Clip):
            found.extend(part.images(root))
        elif isinstance(part, Subtitled):
            found.extend(part.opened(root))
        elif isinstance(part, Stored):
            found.append(part.image())
        else:
            found.append(part)
    return tuple(found)


def interleave(
    text: str, pictures: Sequence[Part], placeholder: str, field: str = "question"
) -> tuple[Part, ...]:
    """A text with each ``placeholder`` replaced by the next picture; all in front of it where it has none.

    :class:`FieldError` unless there are as many placeholders as pictures, or none.
    """
    pieces = text.split(placeholder)
    if len(pieces) == 1:
        return (*pictures, Text(text=text))
    if len(pieces) - 1 != len(pictures):
        raise FieldError(
            field, f"has {len(pieces) - 1} × {placeholder} for {len(pictures)} pictures; make them as many"
        )
    parts: list[Part] = []
    for place, piece in enumerate(pieces):
        if piece:
            parts.append(Text(text=piece))
        if place < len(pictures):
            parts.append(pictures[place])
    return tuple(parts)


def wanted(row: Mapping[str, Any], name: str, kind: type | tuple[type, ...] = str) -> Any:
    """A field that must be there. :class:`FieldError` where it is not, or of another type."""
    value = row.get(name)
    if value is None or value == "":
        raise FieldError(name, "is missing; add it")
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise FieldError(name, f"must be of type {kinds}, but it is {shown(value)}")
    return value


def cased(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the names of its fields in lower case. :class:`FieldError` where two become one."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name.lower() in found:
            raise FieldError(name, f"is there twice, in other case; keep one {name.lower()!r}")
        found[name.lower()] = value
    return found


def lettered(
    row: Mapping[str, Any], names: Sequence[str], answer: str = "answer"
) -> tuple[tuple[str, ...], int]:
    """The options under ``names``, empty ones left out, and the index of the one that the letter in ``answer`` means.

    :class:`FieldError` for a missing option's field, fewer than two options, equal ones, or a letter that names none.
    """
    letter = str(wanted(row, answer)).strip().upper()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    if not 0 <= place < len(names):
        raise FieldError(
            answer, f"is {shown(row[answer])}, but the options are A to {LETTERS[len(names) - 1]}"
        )
    texts: list[tuple[int, str]] = []
    for index, name in enumerate(names):
        if name not in row:
            raise FieldError(name, "is missing; add it (empty where there is no such option)")
        text = "" if row[name] is None else str(row[name])
        if text.strip():
            texts.append((index, text))
    options = tuple(text for _, text in texts)
    kept = [index for index, _ in texts]
    if place not in kept:
        raise FieldError(answer, f"is {letter!r}, but the option {names[place]} is empty")
    different(options, names[0])
    return options, kept.index(place)


def different(options: Sequence[str], field: str) -> None:
    """:class:`FieldError` unless there are two options at least and all differ."""
    if len(options) < 2:
        raise FieldError(field, f"has {len(options)} option that is not empty; a question needs 2")
    for index, option in enumerate(options):
        if option in options[:index]:
            first, second = LETTERS[options.index(option)], LETTERS[index]
            raise FieldError(field, f"options {first} and {second} are both {shown(option)}; which is right?")


_OPTION = re.compile(r"\n[ \t]*([A-H])[ \t]*\.[ \t]*")


def parsed_options(question: str, field: str = "question") -> tuple[str, tuple[str, ...]]:
    """The stem and the options of a question that lists them as lines ``A. …``, in order.

    A missing space behind the full stop, blank lines between options and behind the last are let pass.
    :class:`FieldError` where there are not two at least.
    """
    pieces = _OPTION.split("\n" + question.strip())
    stem, letters, texts = pieces[0].strip(), pieces[1::2], [text.strip() for text in pieces[2::2]]
    if len(letters) < 2 or letters != list(LETTERS[: len(letters)]):
        raise FieldError(
            field, f"must list its options as lines 'A. …', 'B. …', but the letters found are {letters}"
        )
    different(texts, field)
    return stem, tuple(texts)

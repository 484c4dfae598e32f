"""A task's questions as other tools can ask them: what the model is shown, and what is right, without vitrail."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from vitrail.data.decoding import decode_rgb
from vitrail.data.readers.problems import FieldError
from vitrail.data.records import Chat, Image, Text
from vitrail.data.sources import Source, set_aside_of
from vitrail.evaluation.scenarios import Item, as_item
from vitrail.evaluation.task import Task

PLAIN_FORMATS = ("PNG", "JPEG")
_ORIENTATION = 0x0112  # EXIF's tag


@dataclass(frozen=True)
class Portable:
    """A question: the item, and the chat that the task's instruction makes of it."""

    item: Item
    chat: Chat


@dataclass
class Exported:
    """What was written: the files' folder, how many questions, and why each of the others was left out."""

    folder: Path
    questions: int
    left_out: list[str]


def portable_questions(task: Task, source: Source, left_out: list[str]) -> Iterator[Portable]:
    """The questions of a task in words, in order; reasons for those that cannot be asked are put in ``left_out``.

    ValueError for a task that is not answered in words: what options' likelihoods are, other tools ask differently.
    """
    if task.inferencer["name"] != "generate" or task.metric["name"] != "match":
        raise ValueError(
            f"task {task.name!r} is answered by {task.inferencer['name']} and judged by {task.metric['name']}; other "
            "tools are given questions to answer in words, so use --mode letters (inferencer generate, metric match)"
        )
    instruction = task.part("instruction")
    if hasattr(instruction, "prepare"):
        instruction.prepare(source)
    left_out += [str(bad) for bad in set_aside_of(source).rows]
    for row in range(len(source)):
        try:
            item = as_item(source[row], row, source.root)
            prompt = instruction.prompt(item)
            if prompt.beginning:
                raise ValueError("begins the answer for the model, which other tools cannot")
            if prompt.text is not None:
                raise ValueError("is a text to be read, not a question")
        except (ValueError, OSError, FieldError) as error:
            left_out.append(f"row {row}: {' '.join(str(error).split())}")
            continue
        yield Portable(item, prompt.chat)


def picture_bytes(picture: Image, root: Path | None) -> bytes:
    """The picture as every tool decodes it alike: its own bytes; PNG where turned, transparent or rare."""
    raw = picture.read(root)
    with PILImage.open(io.BytesIO(raw)) as opened:
        plain = (
            opened.format in PLAIN_FORMATS
            and opened.mode in ("RGB", "L")
            and "transparency" not in opened.info
        )
        if plain and opened.getexif().get(_ORIENTATION, 1) == 1:
            return raw
    buffer = io.BytesIO()
    decode_rgb(raw).save(buffer, "PNG")
    return buffer.getvalue()


def last_turn(chat: Chat) -> Sequence[Any]:
    """The content of the one turn of a chat. ValueError for a system message or earlier turns."""
    if len(chat.messages) != 1:
        raise ValueError("has a system message or earlier turns, for which this format has no place")
    return chat.messages[0].content


def text_behind_pictures(content: Sequence[Any]) -> str:
    """The text of a turn whose pictures all stand in front of it. ValueError where they do not."""
    kinds = [isinstance(part, Text) for part in content]
    if kinds != sorted(kinds):
        raise ValueError("has pictures between or behind its words, for which this format has no place")
    return "".join(part.text for part in content if isinstance(part, Text))

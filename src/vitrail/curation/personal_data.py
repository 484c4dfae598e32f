"""Personalised tuning data, after RAP (Hao et al. 2024, arXiv 2410.13360): things with boxes become named concepts.

A thing is cut out of its picture as a concept's avatar and gets a name that means nothing; a model that is tuned on the
rows learns to use what stands in the prompt. Tasks here are those that need no writer: is it in the picture (with as
many negatives: a concept of another picture), where is it, and what is it (its ``info``, from the avatar alone).
**Noise concepts** are unrelated ones, in random places among those of the prompt; they never change the answer.
**Augmentation** moves the avatar's edges, mirrors it and turns it a little.

Captions and questions in the published data were written by a large model; such rows are read as they are
(``vitrail.data.readers.rap``). Novel views from a diffusion model are left out.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image as PILImage

from vitrail.data.personal import SYLLABLES, remembered
from vitrail.data.records import Chat, Image, Message, Text

Task = Literal["recognition", "grounding", "description"]
TASKS: tuple[Task, ...] = ("recognition", "grounding", "description")


@dataclass(frozen=True)
class Thing:
    """Something in a picture. ``box``: x1, y1, x2, y2 in pixels; ``info``: a sentence about it, without a name."""

    picture: Image
    box: tuple[int, int, int, int]
    info: str
    category: str = ""


def invented_name(rng: random.Random) -> str:
    """Three syllables."""
    return "".join(rng.choice(SYLLABLES) for _ in range(3)).capitalize()


def personal_chats(
    things: Sequence[Thing],
    *,
    tasks: Sequence[Task] = TASKS,
    noise: int = 1,
    augment: bool = True,
    seed: int = 0,
) -> Iterator[Chat]:
    """For each thing a chat a task (recognition: one of yes and one of no), which depends on nothing but the arguments.

    ``noise``: unrelated concepts in each prompt. ValueError for an unknown task, a box outside its picture, or too few
    things to take noise and negatives from.
    """
    strange = next((one for one in tasks if one not in TASKS), None)
    if strange is not None:
        raise ValueError(f"task {strange!r} is unknown; known: {', '.join(TASKS)}")
    pictures = [one.picture.read() for one in things]
    for number in range(len(things)):
        others = [n for n, one in enumerate(pictures) if one != pictures[number]]
        if len(others) < noise + 1:
            raise ValueError(
                f"{len(others)} things lie in other pictures than thing {number}; {noise + 1} are needed for noise and "
                "negatives: give more things, or less noise"
            )
        for task in tasks:
            for present in (True, False) if task == "recognition" else (True,):
                rng = random.Random(f"{seed} {number} {task} {present}")
                yield _chat(things, number, others, task, present, noise, augment, rng)


def _chat(
    things: Sequence[Thing],
    number: int,
    others: Sequence[int],
    task: Task,
    present: bool,
    noise: int,
    augment: bool,
    rng: random.Random,
) -> Chat:
    """One row; the concept that is asked about is the thing itself, or (not ``present``) one of another picture."""
    thing = things[number]
    drawn = rng.sample(list(others), noise + 1)
    asked = thing if present else things[drawn[-1]]
    name = invented_name(rng)
    concepts = [(name, f"<{name}> {asked.info}", avatar(asked, rng if augment else None))]
    for other in drawn[:noise]:
        called = invented_name(rng)
        told = (called, f"<{called}> {things[other].info}", avatar(things[other], rng if augment else None))
        concepts.insert(rng.randrange(len(concepts) + 1), told)
    question, answer = _said(task, name, asked, present)
    shown = [] if task == "description" else [thing.picture]
    content = (*shown, *remembered(concepts, first=len(shown)), Text(text=question))
    messages = (
        Message(role="user", content=content),
        Message(role="assistant", content=(Text(text=answer),)),
    )
    kind = {"task": task, "concept": name, "present": present, "noise": noise}
    return Chat(id=f"{number}-{task}-{'yes' if present else 'no'}", messages=messages, meta=kind)


def _said(task: Task, name: str, thing: Thing, present: bool) -> tuple[str, str]:
    """Question and answer."""
    if task == "recognition":
        return f"Is <{name}> in the picture? Answer yes or no.", "Yes" if present else "No"
    if task == "description":
        return f"Describe <{name}>.", f"<{name}> {thing.info}"
    wide, high = thing.picture.open().size
    x1, y1, x2, y2 = (round(v / span, 2) for v, span in zip(thing.box, (wide, high) * 2, strict=True))
    return f"Give the bounding box of <{name}>.", f"[{x1:.2f},{y1:.2f},{x2:.2f},{y2:.2f}]"


def avatar(thing: Thing, rng: random.Random | None = None) -> Image:
    """The thing cut out, as PNG; with ``rng`` its edges move by up to a tenth, and it may be mirrored and turned.

    ValueError for a box outside the picture.
    """
    picture: PILImage.Image = thing.picture.open()
    x1, y1, x2, y2 = thing.box
    if not (0 <= x1 < x2 <= picture.width and 0 <= y1 < y2 <= picture.height):
        raise ValueError(
            f"the box {thing.box} is not inside its picture of {picture.width} × {picture.height} pixels; give x1, y1, "
            "x2, y2"
        )
    if rng is not None:
        dx, dy = (x2 - x1) / 10, (y2 - y1) / 10
        x1, x2 = (round(x + rng.uniform(-dx, dx)) for x in (x1, x2))
        y1, y2 = (round(y + rng.uniform(-dy, dy)) for y in (y1, y2))
        x1, y1 = max(min(x1, picture.width - 1), 0), max(min(y1, picture.height - 1), 0)
        x2, y2 = min(max(x2, x1 + 1), picture.width), min(max(y2, y1 + 1), picture.height)
    cut = picture.crop((x1, y1, x2, y2))
    if rng is not None:
        if rng.random() < 0.5:
            cut = cut.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT)
        cut = cut.rotate(rng.uniform(-15, 15), fillcolor=(127, 127, 127))
    buffer = io.BytesIO()
    cut.save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=cut.width, height=cut.height)

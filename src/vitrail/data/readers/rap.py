"""RAP's rows (arXiv 2410.13360): LLaVA's, with the concepts of the prompt in ``extra``.

``extra`` maps each concept's picture to its ``name``, ``info`` and ``category``. ``<image>`` leaves the first human
turn; the query's picture (if any) comes first, then the concepts as :mod:`vitrail.data.personal` has it, then the text.
The published loader skips rows of more than two concepts; here all are read, and length is the stage's affair.
"""

from __future__ import annotations

from typing import Any

from vitrail.data.personal import remembered
from vitrail.data.readers import conversations
from vitrail.data.readers.beside import Beside
from vitrail.data.readers.columns import rest
from vitrail.data.readers.content import Row
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject
from vitrail.data.records import Image

_MARK = "<image>"


def is_rap(row: Row) -> bool:
    """Whether a row's ``extra`` has concepts."""
    extra = row.get("extra")
    return (
        isinstance(extra, dict)
        and bool(extra)
        and all(isinstance(one, dict) and "name" in one for one in extra.values())
    )


class RapConversations:
    """Conversations whose prompt has concepts."""

    name = "rap"
    columns = ("conversations", "image", "extra", "type")

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == "conversations" and is_rap(row)

    def payload(self, row: Row) -> Row:  # noqa: D102
        image = row.get("image")
        if image is not None and not isinstance(image, str):
            raise FieldError("image", f"must be one path, but it is {shown(image)}")
        turns = conversations.turns(row["conversations"], "conversations", Beside({}))
        place = next((n for n, turn in enumerate(turns) if turn["role"] == "user"), None)
        if place is None:
            raise FieldError("conversations", "no human turn; the concepts stand in the first one")
        picture = [] if image is None else [{"type": "image", "path": image}]
        concepts = [_concept(path, one) for path, one in row["extra"].items()]
        parts = [one.model_dump(exclude_none=True) for one in remembered(concepts, first=len(picture))]
        text = str(turns[place]["content"]).replace(_MARK, "").strip()
        turns[place]["content"] = [*picture, *parts, {"type": "text", "text": text}]
        found = {"kind": "chat", "messages": turns, **rest(row, self.columns)}
        if row.get("type") is not None:
            found["meta"] = {**found["meta"], "type": row["type"]}
        return found


def _concept(path: str, entry: Any) -> tuple[str, str, Image]:
    name, info = entry["name"], entry.get("info") or ""
    if not isinstance(name, str) or not isinstance(info, str):
        raise FieldError(f"extra.{path}", f"name and info must be text, but it is {shown(entry)}")
    return name.strip("<>"), info, Image(path=path)

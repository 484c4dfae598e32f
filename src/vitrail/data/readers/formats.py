"""How the rows of a file become records: one class a format, found by looking at a row.

A format is registered under the seam ``"format"``. It has a ``name``, tells with ``recognises(row)`` whether
a row (a JSON object) is its own, and turns it with ``payload(row)`` into the fields of a record. No row may
be recognised by two formats. One that can also be written has ``row(record)``, the reverse.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any, Protocol

from vitrail import registry
from vitrail.data.readers.chat import HuggingFaceChat
from vitrail.data.readers.content import Row
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject

__all__ = ["HuggingFaceChat", "Row", "RowFormat", "VitrailRecord", "recognise"]


class RowFormat(Protocol):
    """One format of rows."""

    name: str

    def recognises(self, row: Row) -> bool:
        """Whether the row is in this format (it may still have mistakes)."""

    def payload(self, row: Row) -> Row:
        """The fields of a record, ``kind`` included; :class:`FieldError` for what cannot be one."""


class VitrailRecord:
    """A document, group or episode, as vitrail writes it: its ``kind`` says which."""

    name = "record"

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == "kind"

    def payload(self, row: Row) -> Row:  # noqa: D102
        known = ("chat", "document", "group", "episode")
        if row["kind"] not in known:
            raise FieldError("kind", f"{shown(row['kind'])} is unknown; known: {', '.join(known)}")
        return {name: value for name, value in row.items() if value is not None}


_LISTED = {
    "chat": ("formats:HuggingFaceChat", "chat messages with typed content"),
    "record": ("formats:VitrailRecord", "records with their kind"),
    "trl": ("trl:TrlPrompt", "TRL: prompt with completion, or chosen and rejected"),
    "swift": (
        "swift:SwiftMessages",
        "ms-swift: messages with <image> in the text, objects; query and response",
    ),
    "llava": ("llava:LlavaConversations", "LLaVA: conversations of human and gpt, image"),
    "rap": ("rap:RapConversations", "RAP: LLaVA's conversations, with concepts in extra"),
    "sharegpt": ("sharegpt:ShareGpt", "LLaMA-Factory: conversations with images, system, tools, chosen"),
    "alpaca": ("alpaca:Alpaca", "instruction, input and output"),
    "openai": ("openai:OpenAiMessages", "OpenAI: image_url parts, tool calls; preferred outputs"),
    "vqa": ("vqa:QuestionAnswer", "question and answer, with options or columns A, B, C"),
    "caption": ("captions:Caption", "a picture and its text"),
    "translation": ("translation:Translation", "a text in several languages, as datasets has it"),
    "interleaved": ("interleaved:Interleaved", "two lists, of texts and of pictures: OBELICS, WebMath"),
    "moscar": ("interleaved:ReadingOrder", "mOSCAR: texts and images by index, and their order"),
    "text": ("plain_text:PlainText", "a text alone, to pretrain on"),
}
for _name, (_target, _summary) in _LISTED.items():
    registry.register("format", _name, f"vitrail.data.readers.{_target}", _summary)


def recognise(row: Row) -> RowFormat:
    """The format of a row; :class:`FieldError` when there is none, or more than one."""
    found = [form for form in _formats(tuple(registry.names("format"))) if form.recognises(row)]
    if len(found) == 1:
        return found[0]
    fields = ", ".join(sorted(map(str, row))[:20]) or "none"
    if not found:
        close = difflib.get_close_matches("messages", row, n=1, cutoff=0.7)
        hint = f"did you mean 'messages' by {close[0]!r}?" if close else "a chat row has 'messages'"
        known = ", ".join(registry.names("format"))
        raise FieldError("", f"no known format; {hint} (fields: {fields}; formats: {known})")
    raise FieldError("", f"the row could be {' or '.join(form.name for form in found)} (fields: {fields})")


@lru_cache(maxsize=8)
def _formats(names: tuple[str, ...]) -> list[Any]:
    return [registry.get("format", name)() for name in names]


def format_called(name: str) -> Any:
    """The format ``name``; ValueError names the nearest right name."""
    return registry.get("format", name)()

"""Chat messages as ``transformers``, ``datasets`` and TRL have them, and as vitrail writes them."""

from __future__ import annotations

from typing import Any, Literal

from vitrail.data.readers import content
from vitrail.data.readers.beside import COLUMNS, Beside, markers
from vitrail.data.readers.columns import rest
from vitrail.data.readers.content import OPENAI_TYPES, Row, without_nulls
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject

SWIFT_COLUMNS = ("rejected_response", "rejected_messages", "system")
SWIFT_TAGS = ("<bbox>", "<ref-object>")
SWIFT_ROLES = ("tool_call", "tool_response")
SHAREGPT_ROLES = ("human", "gpt", "observation", "function_call", "function")
OPENAI_KEYS = ("tool_call_id", "function_call", "refusal", "name", "audio")


def dialect(row: Row) -> Literal["chat", "swift", "sharegpt", "openai"] | None:
    """Whose ``messages`` a row holds; None where it has none.

    In this order: LLaMA-Factory's by ``chosen``, its role names or its ``from``/``value``; ms-swift's by its columns
    and role names, or by string contents whose markers (``<image>``) stand for media that the row has; OpenAI's by
    parts and fields that only it has; else plain chat messages.
    """
    if subject(row) != "messages":
        return None
    turns = row["messages"] if isinstance(row["messages"], list) else []
    turns = [turn for turn in turns if isinstance(turn, dict)]
    roles = {turn.get("role") for turn in turns if isinstance(turn.get("role"), str)}
    if row.get("chosen") is not None or roles & {*SHAREGPT_ROLES} or any("from" in turn for turn in turns):
        return "sharegpt"
    if any(row.get(name) is not None for name in SWIFT_COLUMNS) or roles & {*SWIFT_ROLES}:
        return "swift"
    if any(turn.get("loss") is not None for turn in turns) or isinstance(row.get("label"), bool):
        return "swift"
    if _marked(row, turns) or _tagged(row, turns):
        return "swift"
    return "openai" if any(_is_openai(turn) for turn in turns) else "chat"


def _marked(row: Row, turns: list[Row]) -> bool:
    if not all(isinstance(turn.get("content"), (str, type(None))) for turn in turns):
        return False
    found = markers(turns)
    return any(found[kind] and row.get(column) not in (None, []) for column, kind in COLUMNS.items())


def _tagged(row: Row, turns: list[Row]) -> bool:
    if not isinstance(row.get("objects"), dict):
        return False
    return any(tag in str(turn.get("content")) for turn in turns for tag in SWIFT_TAGS)


def _is_openai(turn: Row) -> bool:
    if any(turn.get(name) is not None for name in OPENAI_KEYS) or turn.get("role") == "developer":
        return True
    calls, parts = turn.get("tool_calls"), turn.get("content")
    nested = isinstance(calls, list) and any(isinstance(call, dict) and "function" in call for call in calls)
    typed = isinstance(parts, list) and any(
        isinstance(part, dict) and part.get("type") in OPENAI_TYPES for part in parts
    )
    return nested or typed


class HuggingFaceChat:
    """Rows with ``messages`` of ``role`` and ``content``, the content a string or a list of typed parts.

    A picture is a part ``{"type": "image"}`` that carries it (``image``, ``path``, ``url``, ``base64`` or ``bytes``),
    or takes the next one of the row's ``images`` (or ``image``). When no part asks for the row's pictures, they stand
    before the text of the first user turn, as in TRL. A string is text, whatever it holds. ``videos`` and ``audios``
    work as ``images`` does. Other columns go to ``meta``.
    """

    name = "chat"
    columns = ("kind", "messages", "rejected", "choices", *COLUMNS)

    def recognises(self, row: Row) -> bool:
        """Whether it is, by :func:`dialect`."""
        return dialect(row) == "chat"

    def payload(self, row: Row) -> Row:
        """The fields of a chat."""
        row = {name: value for name, value in row.items() if value is not None or name == "messages"}
        beside = Beside(row)
        out: Row = {"kind": "chat", "messages": content.messages(row["messages"], "messages", beside.take)}
        if "rejected" in row:
            out["rejected"] = content.messages(row["rejected"], "rejected", beside.take)
        if "choices" in row:
            out["choices"] = _choices(row["choices"], beside)
        beside.place_rest(out["messages"], "messages")
        return {**out, **rest(row, self.columns)}


def _choices(choices: Any, beside: Beside) -> Row:
    if not isinstance(choices, dict):
        raise FieldError("choices", f"must be an object with 'options', but it is {shown(choices)}")
    out = without_nulls(choices)
    if isinstance(out.get("options"), list):
        out["options"] = [
            content.parts(option, f"choices.options[{n}]", beside.take)
            for n, option in enumerate(out["options"])
        ]
    return out

"""Calls of tools in an answer's text, in the one form that is known here: Hermes', which Qwen's models write, too.

``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, one block a call, or one block with a list of them. Whether a
model writes it is read off its chat template, which has to show the form to the model. What cannot be read as a call
stays text.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from vitrail.inference.completion import GrowingText

BEGIN, END = "<tool_call>", "</tool_call>"
OTHERS = ("<function=", "<arg_key>")
"""What templates have that put something else between the same marks."""
_BLOCK = re.compile(f"{re.escape(BEGIN)}(.*?)(?:{re.escape(END)}|$)", re.DOTALL)


@dataclass(frozen=True)
class Called:
    """A call of ``name``; ``arguments`` are JSON text, as OpenAI has them."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")

    def body(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


def form_known(template: str, tokenizer: Any) -> bool:
    """Whether the models of a chat template write calls in the form that is read here, in text that is decoded."""
    shown = BEGIN in template and END in template and not any(other in template for other in OTHERS)
    return shown and not {BEGIN, END} & set(tokenizer.all_special_tokens)


def read(text: str) -> tuple[str, list[Called]]:
    """What an answer says, and what it calls; the whole text and no call where a block is none."""
    calls: list[Called] = []
    for block in _BLOCK.findall(text):
        try:
            given = json.loads(block)
        except (ValueError, RecursionError):
            return text, []
        for one in given if isinstance(given, list) else [given]:
            call = _call(one)
            if call is None:
                return text, []
            calls.append(call)
    return (text.partition(BEGIN)[0].strip(), calls) if calls else (text, [])


def _call(given: Any) -> Called | None:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        return None
    arguments = given.get("arguments", {})
    if isinstance(arguments, str):
        return Called(given["name"], arguments)
    return (
        Called(given["name"], json.dumps(arguments, ensure_ascii=False))
        if isinstance(arguments, dict)
        else None
    )


class Watch:
    """A streamed answer: text is let through as long as it can be no call."""

    def __init__(self) -> None:
        self._text, self._growing = "", GrowingText((BEGIN,), strip=False)

    def grow(self, text: str) -> str:
        """What of the text so far may be told."""
        self._text += text
        return "" if self._growing.stopped else self._growing.grow(self._text)

    def end(self) -> tuple[str, list[Called]]:
        """What is left to tell, and the calls."""
        _, calls = read(self._text)
        told = len(self._growing.text)
        return ("" if calls else self._text[told:]), calls

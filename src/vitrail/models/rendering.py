"""Chats → the text that a model's chat template makes of them, with the texts of the chat kept apart.

The template is rendered with a stand-in for every text, so that nothing in a text can be taken for the template's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from vitrail.data.records import Chat, Image, Message, Text, ToolCall

Tool = Mapping[str, Any]
"""A tool as OpenAI writes it: ``{"type": "function", "function": {"name", "description", "parameters"}}``."""

# A template that trims its texts takes the unit separators away, which count as white space.
_EDGE = "\x1f"
_STAND_IN = re.compile(f"({_EDGE}?)\ue000(\\d+)\ue001({_EDGE}?)")


class Piece(NamedTuple):
    """A piece of a rendered chat: the template's own (``message`` is None), or a text of a message."""

    text: str
    message: Message | None = None


class ChatTemplate:
    """A Jinja chat template of a tokenizer.

    ``picture`` is what stands for a picture in templates that take a message's content as one text. ValueError if the
    template renders no message.
    """

    def __init__(self, tokenizer: Any, template: str, picture: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.picture = picture
        self._as_list = True
        if not self._renders_a_text():
            self._as_list = False
            if not self._renders_a_text():
                raise ValueError("the chat template does not render the text of a user's message")

    def render(
        self, chat: Chat, *, add_generation_prompt: bool = False, tools: Sequence[Tool] = ()
    ) -> list[Piece]:
        """The rendered chat in pieces; pieces of the template and of the chat need not alternate.

        ``tools`` are shown to the template as OpenAI writes them. ValueError where the template refuses the chat, or
        for content that is neither text nor picture (nor, where it :attr:`takes_tools`, a call).
        """
        texts: list[tuple[str, Message]] = []
        messages = [self._message(message, texts) for message in chat.messages]
        for tool in tools:
            self._require_plain(tool, "a tool")
        rendered = self._rendered(messages, add_generation_prompt, tools)
        pieces, last = [], 0
        for match in _STAND_IN.finditer(rendered):
            text, message = texts[int(match[2])]
            text = text if match[1] else text.lstrip()
            text = text if match[3] else text.rstrip()
            pieces += [Piece(rendered[last : match.start()]), Piece(text, message)]
            last = match.end()
        pieces.append(Piece(rendered[last:]))
        return [piece for piece in pieces if piece.text or piece.message is not None]

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        name = "a_tool_of_this_name"
        function = {"name": name, "description": "d", "parameters": {"type": "object", "properties": {}}}
        content: Any = [{"type": "text", "text": "a"}] if self._as_list else "a"
        try:
            told = [{"type": "function", "function": function}]
            return name in self._rendered([{"role": "user", "content": content}], True, told)
        except ValueError:
            return False

    def _require_plain(self, value: Any, what: str) -> None:
        """ValueError for JSON, which the template writes itself, with a token of the tokenizer's own in it."""
        text = json.dumps(value, ensure_ascii=False)
        own = next((one for one in self.tokenizer.get_added_vocab() if one in text), None)
        if own is not None or "\ue000" in text:
            raise ValueError(
                f"{what} holds {own or 'U+E000'}, which would be read as a token of the model's own; write it otherwise"
            )

    def _rendered(
        self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool, tools: Sequence[Tool] = ()
    ) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) or None,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        except Exception as error:  # a template is a program: it may fail in any way
            raise ValueError(f"this model's chat template does not take the chat: {error}") from None

    def _renders_a_text(self) -> bool:
        text = _stand_in(0)
        content: Any = [{"type": "text", "text": text}] if self._as_list else text
        try:
            rendered = self._rendered([{"role": "user", "content": content}], False)
        except ValueError:
            return False
        return len(_STAND_IN.findall(rendered)) == 1 and "'type'" not in rendered

    def _message(self, message: Message, texts: list[tuple[str, Message]]) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, Text):
                parts.append({"type": "text", "text": _stand_in(len(texts))})
                texts.append((part.text, message))
            elif isinstance(part, Image):
                parts.append({"type": "image"})
            elif isinstance(part, ToolCall) and self.takes_tools:
                self._require_plain([part.name, part.arguments], "a call")
                function = {"name": part.name, "arguments": dict(part.arguments)}
                calls.append({"type": "function", "function": function})
            else:
                raise ValueError(
                    f"a {part.type!r} part in a {message.role} turn: this model takes text and pictures"
                )
        called = {"tool_calls": calls} if calls else {}
        if self._as_list:
            return {"role": message.role, "content": parts, **called}
        pieces = [part["text"] if part["type"] == "text" else f"{self.picture or ''}\n" for part in parts]
        return {"role": message.role, "content": "".join(pieces), **called}


def _stand_in(number: int) -> str:
    return f"{_EDGE}\ue000{number}\ue001{_EDGE}"

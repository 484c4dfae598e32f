"""Demonstrations: answered exchanges in front of a chat's question, and the ways of showing them.

``pictures``: as they are, every picture in its turn. ``text``: their pictures left out. ``none``: the question alone.
``apart``: the text of each stays in its turn and its pictures lie in ``meta["demonstrations"]``, a list of pictures for
each demonstration: so they are given to a model that reads demonstrations apart (the surgery ``aim``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from vitrail.data.records import Chat, Image, Message, Text

APART = "demonstrations"
"""Where a chat keeps the pictures of demonstrations that are read apart."""
Shown = Literal["pictures", "text", "apart", "none"]


def exchanges(chat: Chat) -> int:
    """How many whole exchanges, a user's turn and its answer, stand in front of the last user's turn.

    ValueError where user and assistant do not alternate in front of it.
    """
    turns = [message for message in chat.messages if message.role != "system"]
    last = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=0)
    before = turns[:last]
    wrong = next((n for n, one in enumerate(before) if one.role != ("user", "assistant")[n % 2]), None)
    if wrong is not None or len(before) % 2:
        raise ValueError(
            f"turn {len(before) if wrong is None else wrong} is no part of a demonstration: in front of the question a "
            "user's turn and an assistant's must alternate"
        )
    return len(before) // 2


def shown(chat: Chat, how: Shown, k: int | None = None) -> Chat:
    """The chat with its first ``k`` exchanges (default: all in front of the question) shown as ``how`` says.

    ValueError for fewer exchanges than ``k``, and with ``apart`` for a demonstration without text or without picture.
    """
    there = exchanges(chat)
    k = there if k is None else k
    if k > there:
        raise ValueError(f"the chat has {there} demonstrations, not {k}; give more, or ask for fewer")
    if how == "pictures" or k == 0:
        return chat
    system = tuple(message for message in chat.messages if message.role == "system")
    turns = [message for message in chat.messages if message.role != "system"]
    demonstrations, rest = turns[: 2 * k], turns[2 * k :]
    if how == "none":
        return chat.model_copy(update={"messages": (*system, *rest)})
    plain = tuple(map(_without_pictures, demonstrations))
    meta = {name: value for name, value in chat.meta.items() if name != APART}
    if how == "apart":
        pairs = list(zip(demonstrations[::2], demonstrations[1::2], strict=True))
        meta[APART] = [_pictures(number, *pair) for number, pair in enumerate(pairs)]
    return chat.model_copy(update={"messages": (*system, *plain, *rest), "meta": meta})


def pictures_apart(chat: Any) -> list[list[Image]]:
    """The pictures of each demonstration that is read apart, in order; none for a chat that has none.

    ValueError where ``meta["demonstrations"]`` is no list of lists of pictures.
    """
    given = chat.meta.get(APART)
    if not given:
        return []
    try:
        return [
            [one if isinstance(one, Image) else Image.model_validate(one) for one in some] for some in given
        ]
    except (TypeError, ValueError):
        raise ValueError(
            "meta.demonstrations must be a list with the pictures of each demonstration, each a list of images"
        ) from None


def with_pictures_apart(chat: Chat, change: Callable[[Image], Image]) -> Chat:
    """The chat with every picture of ``meta["demonstrations"]`` changed."""
    if not chat.meta.get(APART):
        return chat
    changed = [[change(one) for one in some] for some in pictures_apart(chat)]
    return chat.model_copy(update={"meta": {**chat.meta, APART: changed}})


def _without_pictures(message: Message) -> Message:
    content = tuple(part for part in message.content if not isinstance(part, Image))
    return message.model_copy(update={"content": content or (Text(text=""),)})


def _pictures(number: int, asked: Message, answered: Message) -> list[Image]:
    found = [part for message in (asked, answered) for part in message.content if isinstance(part, Image)]
    if not found:
        raise ValueError(
            f"demonstration {number} has no picture, so nothing of it is read apart; show it as text"
        )
    if not (asked.text + answered.text).strip():
        raise ValueError(f"demonstration {number} has no text to carry its picture; give it one")
    return found

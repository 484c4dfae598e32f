"""LLaVA's rows: ``conversations`` of ``human`` and ``gpt``, one picture or more in ``image`` (or ``video``).

Each ``<image>`` in a human turn is the place of the next picture, and there must be as many as pictures; one line
break beside a marker belongs to it. ``<image>`` in an answer is text. A row that has a video and no picture may mark
it with ``<image>``, as LLaVA's video data does.
"""

from __future__ import annotations

from vitrail.data.readers import conversations, expressing
from vitrail.data.readers.beside import Beside, markers
from vitrail.data.readers.columns import rest
from vitrail.data.readers.content import Row
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rap import is_rap
from vitrail.data.readers.subject import subject
from vitrail.data.records import Chat, Media

_SHAREGPT = ("images", "videos", "audios", "audio", "system", "tools", "chosen", "rejected", "kto_tag")


def is_llava(row: Row) -> bool:
    """Whether ``conversations`` are LLaVA's, and not LLaMA-Factory's, which have more columns and speakers."""
    if is_rap(row) or any(row.get(name) is not None for name in _SHAREGPT):
        return False
    turns = row.get("conversations")
    turns = turns if isinstance(turns, list) else []
    return all(
        "from" in turn and turn["from"] in ("human", "gpt") for turn in turns if isinstance(turn, dict)
    )


class LlavaConversations:
    """Conversations with ``<image>`` in human turns."""

    name = "llava"
    columns = ("conversations", "image", "video")

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == "conversations" and is_llava(row)

    def payload(self, row: Row) -> Row:  # noqa: D102
        media = Beside(row, {"image": "image", "video": "video"})
        turns = conversations.turns(row["conversations"], "conversations", media)
        if media.count("video") and not media.count("image") and not markers(turns)["video"]:
            _mark_videos(turns)
        media.place_marked(turns, "conversations", always=("image",), newline=True)
        for kind in ("image", "video"):
            if media.count(kind) and not any(isinstance(turn["content"], list) for turn in turns):
                raise FieldError(
                    "conversations", f"no human turn holds '<{kind}>'; put it where the row's {kind} is shown"
                )
        media.place_rest(turns, "conversations")
        return {"kind": "chat", "messages": turns, **rest(row, self.columns)}

    def row(self, chat: Chat) -> Row:
        """The row of a chat of users and assistants, without tools and weights."""
        if chat.rejected is not None:
            raise FieldError("rejected", "has no place in this format; --to sharegpt has one")
        expressing.weights(chat.messages, lambda n, one: False)
        media: list[Media] = []
        names = {"user": "human", "assistant": "gpt"}
        turns = [
            conversations.spoken(message, f"messages[{n}]", media, names, newline=True)
            for n, message in enumerate(chat.messages)
        ]
        columns = expressing.media_columns(media)
        if "audios" in columns:
            raise FieldError("messages", "sounds have no place in this format")
        out: Row = {"conversations": turns}
        for kind in ("image", "video"):
            values = columns.get(f"{kind}s")
            if values:
                out[kind] = values[0] if len(values) == 1 and not isinstance(values[0], list) else values
        return expressing.fields(chat, (*self.columns, *_SHAREGPT, "messages")) | out


def _mark_videos(turns: list[Row]) -> None:
    for turn in turns:
        if turn["role"] == "user" and isinstance(turn["content"], str):
            turn["content"] = turn["content"].replace("<image>", "<video>")

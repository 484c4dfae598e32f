"""TRL's rows: ``prompt`` with ``completion``, ``prompt`` with ``chosen`` and ``rejected``, or the latter two alone.

Each is a string or a list of messages; ``images`` stand beside, as in :mod:`vitrail.data.readers.chat`. As in TRL,
assistant turns inside a prompt that has a completion are not learnt (weight 0). ``label: false`` (unpaired
preference) gives the completion weight 0 and stays in ``meta``.
"""

from __future__ import annotations

from typing import Any

from vitrail.data.readers import content, expressing
from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.columns import rest
from vitrail.data.readers.content import Row
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject
from vitrail.data.records import Chat, Media

FIELDS = ("prompt", "completion", "chosen", "rejected")


class TrlPrompt:
    """Prompt with completion, or with a chosen and a rejected answer."""

    name = "trl"
    columns = (*FIELDS, *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) in ("prompt", "chosen")

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = content.without_nulls(row)
        if "completion" in row and "chosen" in row:
            raise FieldError("chosen", "the row has a completion too; keep one")
        prompt, better, worse, name = _split(row)
        beside = Beside(row)
        turns = _turns(prompt, "prompt", "user", beside)
        asked = len(turns)
        turns += _turns(better, name, "assistant", beside)
        out: Row = {"kind": "chat", "messages": turns}
        if worse is not None:
            out["rejected"] = _turns(worse, "rejected", "assistant", beside)
        beside.place_marked(turns, "prompt")
        beside.place_rest(turns, "prompt")
        if worse is None:
            for turn in turns[:asked]:
                if turn.get("role") == "assistant":
                    turn.setdefault("weight", 0.0)
        if row.get("label") is False:
            unwanted(turns)
        return {**out, **rest(row, self.columns)}

    def row(self, chat: Chat) -> Row:
        """The row of a chat: ``messages``, or prompt and answers where these say more."""
        media: list[Media] = []
        messages = expressing.typed(chat.messages, "messages", media)
        worse = expressing.typed(chat.rejected or (), "rejected", media)
        last = len(messages) - 1
        silent = [n for n, one in enumerate(chat.messages) if one.weight == 0 and one.role == "assistant"]
        if chat.rejected is not None:
            expressing.weights(chat.messages, lambda n, one: False)
            expressing.weights(chat.rejected, lambda n, one: False, "rejected")
            fields: Row = {"prompt": messages[:last], "chosen": messages[last:], "rejected": worse}
        elif silent:
            answers = [n for n, one in enumerate(chat.messages) if one.role == "assistant"]
            fine = answers[-1] == last and silent == answers[:-1]
            expressing.weights(chat.messages, lambda n, one: fine and n in silent)
            fields = {"prompt": messages[:last], "completion": messages[last:]}
        else:
            expressing.weights(chat.messages, lambda n, one: False)
            fields = {"messages": messages}
        return expressing.fields(chat, (*self.columns, "messages")) | fields | expressing.media_columns(media)


def unwanted(turns: list[Row]) -> None:
    """Give the last assistant turn weight 0: the row says that it is not wanted."""
    for turn in reversed(turns):
        if turn.get("role") == "assistant":
            turn["weight"] = 0.0
            return


def _split(row: Row) -> tuple[Any, Any, Any, str]:
    """The prompt, the better answer, the worse one (or None), and the better one's field."""
    if "prompt" in row:
        name = "completion" if "completion" in row else "chosen"
        if name not in row:
            raise FieldError("completion", "is missing; add it")
        if name == "chosen" and "rejected" not in row:
            raise FieldError("rejected", "is missing; add it")
        return row["prompt"], row[name], row.get("rejected"), name
    chosen, worse = row.get("chosen"), row.get("rejected")
    for name, value in (("chosen", chosen), ("rejected", worse)):
        if not isinstance(value, list):
            raise FieldError(
                name,
                f"without a 'prompt' it must be a list of messages that begins with it, not {shown(value)}",
            )
    assert isinstance(chosen, list) and isinstance(worse, list)
    common = 0
    while common < min(len(chosen), len(worse)) and chosen[common] == worse[common]:
        common += 1
    if common == 0:
        raise FieldError("chosen", "does not begin with the same messages as 'rejected'; add a 'prompt'")
    if common in (len(chosen), len(worse)):
        raise FieldError("rejected", "says nothing else than 'chosen'")
    return chosen[:common], chosen[common:], worse[common:], "chosen"


def _turns(value: Any, path: str, role: str, beside: Beside) -> list[Row]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, dict):
        value = [value]
    return content.messages(value, path, beside.take)

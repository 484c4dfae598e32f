"""Records of a source as the numbered, encoded records that a stage trains on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any, Literal

from vitrail.data.codecs import thousandths
from vitrail.data.demonstrations import pictures_apart
from vitrail.data.image_plans.plan import plans_of
from vitrail.data.records import Chat, Document, Message
from vitrail.models.documents import windows
from vitrail.models.encoding import ChatEncoder, Encoded
from vitrail.recipes.prepared import Outcome, Prepared

KEPT_BYTES = 1 << 30
"""Encoded pictures held in memory; beyond that a record is read again from its source when its turn comes."""

OnTooLong = Literal["raise", "drop", "cut_turns"]


class EncodedRecords:
    """The chats and documents of a source, encoded once; ``lengths`` are their tokens, ``set_aside`` reasons by record
    number.

    A record that cannot be encoded (of another kind, nothing in it to learn) is an error that names it, or, with
    ``on_error="set_aside"``, left out and counted. One of more than ``max_length`` tokens (default: the encoder's) is
    treated as ``too_long`` says (default: as ``on_error``): ``"raise"`` names it, ``"drop"`` leaves it out, and
    ``"cut_turns"`` drops whole turns from its end until it fits, up to an answer that is learnt; ``cut`` counts them by
    record number. Nothing is ever cut inside a turn, so that no picture's tokens are.

    Boxes and points are learnt as text (:mod:`vitrail.data.codecs.thousandths`), and a question with options that
    nobody answers with the right option. Pictures are not decoded here. ``prepared`` knows what became of records
    before, and keeps what becomes of the others.
    """

    def __init__(
        self,
        source: Any,
        encoder: ChatEncoder,
        on_error: Literal["raise", "set_aside"] = "raise",
        progress: Callable[[int, int], None] | None = None,
        *,
        too_long: OnTooLong | None = None,
        max_length: int | None = None,
        context: int | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        self.source, self.encoder = source, encoder
        self.max_length = max_length if max_length is not None else encoder.max_length
        self._divides = too_long in (None, "cut_turns")
        self._row = min(filter(None, (self.max_length, context)), default=None)
        self.too_long = too_long or ("raise" if on_error == "raise" else "drop")
        self.lengths: list[int] = []
        self.set_aside: dict[int, str] = {}
        self.cut: dict[int, int] = {}
        self.divided: dict[int, int] = {}
        self.dropped_too_long = 0
        # Lengths are compared here, where it is decided what becomes of a record that is too long.
        self._unbounded = copy.copy(encoder)
        self._unbounded.max_length = None
        self._numbers: list[tuple[int, int]] = []
        self._kept: list[Encoded | None] = []
        self._encode_all(on_error, progress, prepared)

    def _encode_all(
        self, on_error: str, progress: Callable[[int, int], None] | None, prepared: Prepared | None
    ) -> None:
        held = 0
        for number in range(len(self.source)):
            found = self._outcome(number) if prepared is None else prepared(number, self._outcome)
            if found.reason is not None:
                if (self.too_long if found.long else on_error) == "raise":
                    raise ValueError(f"record {number} of {self.source.name}: {found.reason}")
                self.dropped_too_long += found.long
                self.set_aside[number] = found.reason
                continue
            if found.turns_cut:
                self.cut[number] = found.turns_cut
            if len(found.rows) > 1:
                self.divided[number] = len(found.rows)
            for place, encoded in enumerate(found.rows):
                held += sum(len(image.bytes or b"") for image in encoded.images)
                self._numbers.append((number, place))
                self._kept.append(encoded if held <= KEPT_BYTES else None)
                self.lengths.append(encoded.length)
            if progress is not None:
                progress(number + 1, len(self.source))
        if not self._numbers:
            reason = next(iter(self.set_aside.values()), "it is empty")
            raise ValueError(f"{self.source.name} has no record to train on ({reason})")

    def _outcome(self, number: int) -> Outcome:
        """What becomes of a record: its rows, or why it is set aside."""
        try:
            rows, turns_cut = self._encode(number)
        except ValueError as error:
            return Outcome(reason=str(error), long=isinstance(error, _TooLong))
        return Outcome(tuple(rows), turns_cut)

    def _encode(self, number: int) -> tuple[list[Encoded], int]:
        """A record's rows of tokens, and how many turns were cut from its end."""
        record = self.source[number]
        if isinstance(record, Document):
            return self._encode_document(record), 0
        if record.kind != "chat":
            raise ValueError(f"a stage trains on chats and documents, and this is a {record.kind}")
        encoded, turns_cut = self._encode_chat(record)
        return [encoded], turns_cut

    def _encode_document(self, document: Document) -> list[Encoded]:
        whole = self._unbounded.encode(document, root=self.source.root)
        if self._row is None or whole.length <= self._row:
            return [whole]
        if not self._divides:
            raise _TooLong(
                f"it has {whole.length} tokens, more than {self._row}; leave too_long out, and it is divided"
            )
        rows = windows(whole, self._row)
        if hasattr(self.encoder.planner, "several"):
            for row in rows:
                self._require_plans(row)
        return rows

    def _require_plans(self, row: Encoded) -> None:
        """ValueError where a model shows the pictures of a row otherwise than those of the whole document."""
        sizes = [(one.width, one.height) if one.width and one.height else one.open(row.root).size
                 for one in row.images]  # fmt: skip
        assert self.encoder.planner is not None
        plans = plans_of(self.encoder.planner, sizes) if sizes else []
        if any(int((row.item == item).sum()) != plan.num_tokens for item, plan in enumerate(plans)):
            raise ValueError(
                "it is longer than a row and cannot be divided: this model shows a picture alone otherwise than beside "
                "others; give longer rows or shorter documents"
            )

    def _encode_chat(self, record: Any) -> tuple[Encoded, int]:
        chat = _answered(self._in_words(record))
        encoded = self._tokens(chat)
        if encoded.labelled == 0:
            raise ValueError("it has no assistant turn to learn from (of weight above 0)")
        if self.max_length is None or encoded.length <= self.max_length:
            return encoded, 0
        why = f"it has {encoded.length} tokens, more than max_length={self.max_length}"
        if self.too_long != "cut_turns":
            raise _TooLong(f"{why}; shorten it, raise max_length, or give too_long: drop or cut_turns")
        if chat.rejected is not None:
            raise _TooLong(f"{why}, and the last turn of a preference cannot be cut")
        for end in range(len(chat.messages) - 1, 0, -1):
            last = chat.messages[end - 1]
            if last.role == "assistant" and last.weight > 0:
                shorter = chat.model_copy(update={"messages": chat.messages[:end], "choices": None})
                encoded = self._tokens(shorter)
                if encoded.length <= self.max_length:
                    return encoded, len(chat.messages) - end
        raise _TooLong(f"{why}, even up to its first answer")

    def _tokens(self, chat: Chat) -> Encoded:
        return self._unbounded.encode(chat, root=self.source.root)

    def _in_words(self, chat: Chat) -> Chat:
        def size(number: int) -> tuple[int, int]:
            image = chat.images[number]
            if image.width and image.height:
                return image.width, image.height
            found: tuple[int, int] = image.open(self.source.root).size
            return found

        return thousandths.as_text(chat, size)

    @property
    def counts(self) -> dict[str, int]:
        """What became of the source's records; ``used + set_aside`` is all of them."""
        return {
            "used": len({number for number, _ in self._numbers}),
            "set_aside": len(self.set_aside),
            "too_long": self.dropped_too_long,
            "cut": len(self.cut),
            "turns_cut": sum(self.cut.values()),
        }

    def sentence(self) -> str:
        """The counts in words, for a run's output: what was set aside or cut, and one reason; empty if nothing was."""
        said = []
        if self.set_aside:
            number, reason = next(iter(self.set_aside.items()))
            long = f", {self.dropped_too_long:,} of them too long" if self.dropped_too_long else ""
            said.append(f"{len(self.set_aside):,} set aside{long} (record {number}: {reason})")
        if self.cut:
            said.append(
                f"{len(self.cut):,} cut by {sum(self.cut.values()):,} turns to {self.max_length:,} tokens"
            )
        if self.divided:
            rows = sum(self.divided.values())
            said.append(
                f"{len(self.divided):,} documents divided into {rows:,} rows of at most {self._row:,} tokens"
            )
        return "; ".join(said)

    @property
    def fingerprint(self) -> str:
        """Of the records that are used."""
        from vitrail.storage.cache import key

        cut = [sorted(self.cut.items())] if self.cut else []
        rows = [self._row] if self.divided else []
        return key("encoded", self.source.fingerprint, sorted(self.set_aside), *cut, *rows)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Encoded:
        kept = self._kept[index]
        if kept is not None:
            return kept
        number, place = self._numbers[index]
        return self._encode(number)[0][place]

    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order; those of demonstrations that are read apart come first."""
        return [
            (image, record.root)
            for record in map(self.__getitem__, range(len(self)))
            for image in (*chain.from_iterable(pictures_apart(record)), *record.images)
        ]


def _answered(chat: Chat) -> Chat:
    """A question with options that ends with the user's turn, answered with the right one."""
    choices = chat.choices
    if choices is None or choices.answer is None or chat.messages[-1].role != "user":
        return chat
    right = Message(role="assistant", content=choices.options[choices.answer])
    return chat.model_copy(update={"messages": (*chat.messages, right)})


class _TooLong(ValueError):
    pass

"""Records of a source as the numbered, encoded records that a stage trains on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from vitrail.models.encoding import ChatEncoder, Encoded

KEPT_BYTES = 1 << 30
"""Encoded pictures held in memory; beyond that a record is read again from its source when its turn comes."""


class EncodedRecords:
    """The chats of a source, encoded once; ``lengths`` are their tokens, ``set_aside`` reasons by record
    number.

    A record that cannot be encoded (too long, not a chat, nothing in it to learn) is an error that names it,
    or, with ``on_error="set_aside"``, left out and counted. Pictures are not decoded here.
    """

    def __init__(
        self,
        source: Any,
        encoder: ChatEncoder,
        on_error: Literal["raise", "set_aside"] = "raise",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.source, self.encoder = source, encoder
        self.lengths: list[int] = []
        self.set_aside: dict[int, str] = {}
        self._numbers: list[int] = []
        self._kept: list[Encoded | None] = []
        held = 0
        for number in range(len(source)):
            try:
                encoded = self._encode(number)
            except ValueError as error:
                if on_error == "raise":
                    raise ValueError(f"record {number} of {source.name}: {error}") from None
                self.set_aside[number] = str(error)
                continue
            held += sum(len(image.bytes or b"") for image in encoded.images)
            self._numbers.append(number)
            self._kept.append(encoded if held <= KEPT_BYTES else None)
            self.lengths.append(encoded.length)
            if progress is not None:
                progress(number + 1, len(source))
        if not self._numbers:
            reason = next(iter(self.set_aside.values()), "it is empty")
            raise ValueError(f"{source.name} has no record to train on ({reason})")

    def _encode(self, number: int) -> Encoded:
        record = self.source[number]
        if record.kind != "chat":
            raise ValueError(f"a stage trains on chats, and this is a {record.kind}")
        encoded = self.encoder.encode(record, root=self.source.root)
        if encoded.labelled == 0:
            raise ValueError("it has no assistant turn to learn from (of weight above 0)")
        return encoded

    @property
    def fingerprint(self) -> str:
        """Of the records that are used."""
        from vitrail.storage.cache import key

        return key("encoded", self.source.fingerprint, sorted(self.set_aside))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Encoded:
        kept = self._kept[index]
        return kept if kept is not None else self._encode(self._numbers[index])

    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order."""
        return [
            (image, record.root)
            for record in map(self.__getitem__, range(len(self)))
            for image in record.images
        ]

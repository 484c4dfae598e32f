"""Records that a stage trains on, encoded once, where each of the source's is one or is set aside."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar


class Sized(Protocol):
    """What is encoded has a ``length`` in tokens."""

    @property
    def length(self) -> int:
        """Its tokens."""


R = TypeVar("R", bound=Sized)


class EncodedList(Generic[R]):
    """The records of a source, encoded once; the interface of :class:`~vitrail.recipes.datasets.EncodedRecords`.

    A record that cannot be encoded is an error that names it, or, with ``on_error="set_aside"``, left out and counted
    (``set_aside``: the reason by number). ValueError for fewer than :attr:`fewest` that can.
    """

    what: ClassVar[str]
    """What the records are, for the fingerprint."""
    fewest: ClassVar[int] = 1
    lacking: ClassVar[str]
    """What the source has too few of, for the message."""

    def __init__(
        self,
        source: Any,
        encoder: Any,
        on_error: Literal["raise", "set_aside"] = "raise",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.source, self.encoder, self.set_aside = source, encoder, dict[int, str]()
        self._records: list[R] = []
        for number in range(len(source)):
            try:
                self._records.append(self._encode(source[number]))
            except (ValueError, OSError) as error:
                if on_error == "raise":
                    raise ValueError(f"record {number} of {source.name}: {error}") from None
                self.set_aside[number] = str(error)
            if progress is not None:
                progress(number + 1, len(source))
        if len(self._records) < self.fewest:
            reason = next(iter(self.set_aside.values()), "it has none more")
            raise ValueError(f"{source.name} has {self.lacking} ({reason})")

    @abstractmethod
    def _encode(self, record: Any) -> R:
        """One record. ValueError for what cannot be one."""

    @abstractmethod
    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each record."""
        return [record.length for record in self._records]

    @property
    def counts(self) -> dict[str, int]:
        """What became of the source's records."""
        return {"used": len(self), "set_aside": len(self.set_aside)}

    @property
    def fingerprint(self) -> str:
        """Of the records that are used."""
        from vitrail.storage.cache import key

        return key(self.what, self.source.fingerprint, sorted(self.set_aside))

    def sentence(self) -> str:
        """What was set aside and one reason; empty if nothing was."""
        if not self.set_aside:
            return ""
        number, reason = next(iter(self.set_aside.items()))
        return f"{len(self.set_aside):,} set aside (record {number}: {reason})"

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[R]:
        return iter(self._records)

    def __getitem__(self, index: int) -> R:
        return self._records[index]

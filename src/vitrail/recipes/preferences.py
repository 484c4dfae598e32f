"""Preferences of a source as what a stage trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from vitrail.models.encoding import ChatEncoder
from vitrail.models.preferences import EncodedPreference, encode_preference


class PreferenceRecords:
    """The preferences of a source, encoded once; the interface of :class:`~vitrail.recipes.datasets.EncodedRecords`.

    A record that is no preference (no rejected answer, two equal ones) is an error that names it, or, with
    ``on_error="set_aside"``, left out and counted. So is one of which a row has more than ``max_length`` tokens.
    """

    def __init__(
        self,
        source: Any,
        encoder: ChatEncoder,
        on_error: Literal["raise", "set_aside"] = "raise",
        progress: Callable[[int, int], None] | None = None,
        *,
        max_length: int | None = None,
    ) -> None:
        self.source, self.set_aside = source, dict[int, str]()
        self._pairs: list[EncodedPreference] = []
        for number in range(len(source)):
            try:
                pair = encode_preference(encoder, source[number], root=source.root)
                longest = max(row.length for row in pair.both)
                if max_length is not None and longest > max_length:
                    raise ValueError(f"an answer makes {longest} tokens, more than max_length={max_length}")
                self._pairs.append(pair)
            except (ValueError, OSError) as error:
                if on_error == "raise":
                    raise ValueError(f"record {number} of {source.name}: {error}") from None
                self.set_aside[number] = str(error)
            if progress is not None:
                progress(number + 1, len(source))
        if not self._pairs:
            reason = next(iter(self.set_aside.values()), "it is empty")
            raise ValueError(f"{source.name} has no preference to train on ({reason})")

    @property
    def lengths(self) -> list[int]:
        """Tokens of both rows of each preference."""
        return [pair.length for pair in self._pairs]

    @property
    def counts(self) -> dict[str, int]:
        """What became of the source's records."""
        return {"used": len(self), "set_aside": len(self.set_aside)}

    @property
    def fingerprint(self) -> str:
        """Of the records that are used."""
        from vitrail.storage.cache import key

        return key("preferences", self.source.fingerprint, sorted(self.set_aside))

    def sentence(self) -> str:
        """What was set aside and one reason; empty if nothing was."""
        if not self.set_aside:
            return ""
        number, reason = next(iter(self.set_aside.items()))
        return f"{len(self.set_aside):,} set aside (record {number}: {reason})"

    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order; each once, though both rows show it."""
        return [(image, pair.root) for pair in self._pairs for image in pair.chosen.images]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[EncodedPreference]:
        return iter(self._pairs)

    def __getitem__(self, index: int) -> EncodedPreference:
        return self._pairs[index]

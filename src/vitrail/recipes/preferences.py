"""Preferences of a source as what a stage trains on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from vitrail.models.encoding import ChatEncoder
from vitrail.models.preferences import EncodedPreference, encode_preference
from vitrail.recipes.encoded_list import EncodedList


class PreferenceRecords(EncodedList[EncodedPreference]):
    """The preferences of a source. No preference has no rejected answer, two equal ones, or, with ``max_length``, a row
    of more tokens than that. ``lengths`` are tokens of both rows.
    """

    what = "preferences"
    lacking = "no preference to train on"

    def __init__(
        self,
        source: Any,
        encoder: ChatEncoder,
        on_error: Literal["raise", "set_aside"] = "raise",
        progress: Callable[[int, int], None] | None = None,
        *,
        max_length: int | None = None,
    ) -> None:
        self.max_length = max_length
        super().__init__(source, encoder, on_error, progress)

    def _encode(self, record: Any) -> EncodedPreference:
        pair = encode_preference(self.encoder, record, root=self.source.root)
        longest = max(row.length for row in pair.both)
        if self.max_length is not None and longest > self.max_length:
            raise ValueError(f"an answer makes {longest} tokens, more than max_length={self.max_length}")
        return pair

    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order; each once, though both rows show it."""
        return [(image, pair.root) for pair in self for image in pair.chosen.images]

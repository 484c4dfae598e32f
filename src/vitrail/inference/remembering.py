"""What methods that look things up in a memory share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vitrail.inference.concepts import ConceptStore
from vitrail.inference.methods import InferenceMethod

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

DATA = "data"
"""In place of a memory's file: what the questions' data has to remember."""
SHOWN = 16
"""Memories that are shown to the person who asked."""
SIDE = 96
"""Pixels of a side of their pictures, as they are shown."""


class Remembering(InferenceMethod):
    """A method whose setting ``memory`` names the folder of a memory; it is opened when it is first needed.

    ``store``: one that is open already, instead.
    """

    config: Any

    def __init__(self, config: Any, store: ConceptStore | None = None) -> None:
        self.config = config
        self._given = store

    @cached_property
    def store(self) -> ConceptStore:
        """The memory, open for reading. FileNotFoundError if it is not there."""
        if self._given is None and self.config.memory == DATA:
            raise ValueError(
                "memory: data is what an evaluation's data tells of its things, and here is none; name a memory's file"
            )
        return self._given if self._given is not None else ConceptStore.open(self.config.memory)

    def require_live(self, bundle: Bundle) -> None:
        """Open the memory and load its encoder. ValueError where it is not there, or was filled by another encoder."""
        try:
            _ = self.store.encoder
        except FileNotFoundError as error:
            raise ValueError(str(error)) from None

    def cards(self, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The first :data:`SHOWN` memories of a trace, each with its ``name``; those that are still there with their
        ``picture``, small, as a data URL.
        """
        from vitrail.reporting.pictures import embed

        cards = []
        for one in found[:SHOWN]:
            name = one["name"]
            picture = self.store.get(name).opened() if name in self.store.store else None
            shown = {} if picture is None else {"picture": embed(picture, name, max_side=SIDE).uri}
            cards.append({**one, **shown})
        return cards

"""What methods that look things up in a memory share."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from vitrail.inference.concepts import ConceptStore
from vitrail.inference.methods import InferenceMethod

DATA = "data"
"""In place of a memory's file: what the questions' data has to remember."""


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

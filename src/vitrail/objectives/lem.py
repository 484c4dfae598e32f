"""Linguistic entity masking (Fernando and Ranathunga, arXiv 2501.05700): masks fall on names, nouns and verbs alone.

``L = −Σ_{e in E} log p(x_{t(e)} | x with all t(e) hidden)`` with one token t(e), drawn uniformly, of each chosen
entity e: the rest of the word stays as context, which matters where words break into many pieces. Of a row's entities
so many are chosen as its budget allows; where it has fewer, each is. Everything else is as in
:mod:`vitrail.objectives.masked`, on single sentences first and on pairs of translations then, where a hidden entity
can be recovered from the other side.

Baselines and controls: ``whole`` hides all tokens of an entity, ``random_same_count`` as many tokens as ``single``
would but anywhere. The paper gives no shares and rate that could be read, so that both are those of BERT and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator
from pydantic_core import to_jsonable_python

from vitrail.data.entities import TYPES, EntityType
from vitrail.models.sentences import ENTITY, ENTITY_TYPE
from vitrail.objectives.masked import Masked
from vitrail.objectives.objective import Batch
from vitrail.settings.component import filled, require_known


class LEM(Masked):
    """See the module. Needs entities: who knows them is its ``tagger``."""

    class Config(Masked.Config):
        """``tagger``: a registered one by name or with its settings; ``annotated`` reads what the data says. ``types``:
        which entities count. ``probability``: with which chance an entity of a type may be chosen at all (1 each).
        """

        tagger: dict[str, Any] = Field(default_factory=lambda: {"name": "annotated"})
        mode: Literal["single", "whole", "random_same_count"] = "single"
        types: tuple[EntityType, ...] = Field(default=TYPES, min_length=1)
        probability: dict[EntityType, float] = Field(default_factory=dict)

        @field_validator("tagger", mode="before")
        @classmethod
        def _known(cls, value: Any) -> Any:
            given = {"name": value} if isinstance(value, str) else dict(value)
            name = given.pop("name", None)
            require_known("tagger", str(name))
            return {"name": name, **to_jsonable_python(filled("tagger", str(name), given))}

        @field_validator("probability")
        @classmethod
        def _chances(cls, value: dict[EntityType, float]) -> dict[EntityType, float]:
            for kind, chance in value.items():
                if not 0 <= chance <= 1:
                    raise ValueError(f"the probability of {kind} is {chance}; give 0 to 1")
            return value

    terms = ("lem",)

    def annotator(self) -> Any:
        """The tagger, built."""
        from vitrail import registry

        settings = {name: value for name, value in self.config.tagger.items() if name != "name"}
        component = registry.get("tagger", self.config.tagger["name"])
        return component(component.Config.model_validate(settings))

    def choose(
        self, batch: Batch, row: int, places: np.ndarray, rng: np.random.Generator
    ) -> Sequence[int] | np.ndarray:
        """One token of each chosen entity; or all of its tokens, or as many tokens anywhere."""
        if ENTITY not in batch:
            raise ValueError("the batch says nothing about entities; the objective lem needs its tagger's")
        numbers, types = batch[ENTITY][row].cpu().numpy(), batch[ENTITY_TYPE][row].cpu().numpy()
        entities = self._candidates(numbers, types, rng)
        rng.shuffle(entities)
        allowed = self.allowed(len(places))
        if self.config.mode == "whole":
            return _whole(numbers, entities, allowed)
        chosen = [int(rng.choice(np.flatnonzero(numbers == one))) for one in entities[:allowed]]
        if self.config.mode == "single":
            return chosen
        return rng.choice(places, len(chosen), replace=False) if chosen else places[:0]

    def _candidates(self, numbers: np.ndarray, types: np.ndarray, rng: np.random.Generator) -> list[int]:
        found = []
        for number in range(int(numbers.max(initial=-1)) + 1):
            kind = TYPES[int(types[numbers == number][0])]
            chance = self.config.probability.get(kind, 1.0)
            if kind in self.config.types and (chance == 1.0 or rng.random() < chance):
                found.append(number)
        return found


def _whole(numbers: np.ndarray, entities: Sequence[int], allowed: int) -> np.ndarray:
    """All tokens of entities, one after the other, until the budget is used up (the last may go beyond it)."""
    found: list[int] = []
    for entity in entities:
        if len(found) >= allowed:
            break
        found += np.flatnonzero(numbers == entity).tolist()
    return np.array(sorted(found), dtype=np.int64)

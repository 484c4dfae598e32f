"""Data of a recipe about things that have names of their own, which a memory holds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.settings.faults import inner_errors


class NamedThings(BaseModel):
    """Scenes of things with names of their own (:mod:`vitrail.data.scenes.named_things`): a suite's under invented
    names, or a folder of one's pictures, each sub-folder a kind and each file a thing.

    A stage reads ``n`` conversations, whose prompts hold entries of a memory (``prompt``: with ``pictures``, as
    ``lines`` alone, or ``nothing``), at most ``noise`` of them of things that are not needed. An evaluation asks ``n``
    questions without entries, unless ``prompt`` says so: the method ``rap`` with ``memory: data`` puts in what is
    remembered of all things. ``naming``: a suite's things are called otherwise in every conversation (``rows``), or
    always alike (``things``, as in questions), by so many ``syllables``; another ``edition`` gives them other names.
    ``mixed_up``: the memory holds each under the name of another. ``kinds``: ``which``, ``there``, ``about``,
    ``whose``, ``else``, ``caption``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["named_things"] = "named_things"
    things: str = Field(default="scenes-v1", min_length=1)
    names: Literal["known", "development", "held-out", "helpers"] = "known"
    fold: Literal["train", "development", "test"] = "train"
    n: int = Field(default=1000, ge=1)
    seed: int | None = Field(default=None, ge=0)
    kinds: tuple[str, ...] | None = None
    turns: tuple[int, int] | None = None
    prompt: Literal["pictures", "lines", "nothing"] | None = None
    noise: int = Field(default=2, ge=0)
    naming: Literal["rows", "things"] = "rows"
    syllables: int = Field(default=3, ge=2, le=6)
    edition: int = Field(default=0, ge=0)
    mixed_up: bool = False

    @model_validator(mode="after")
    def _has_effect(self) -> NamedThings:
        if self.prompt == "nothing" and "noise" in self.model_fields_set and self.noise != 2:
            why = "a prompt of nothing has no noise in it; remove it, or set prompt: pictures"
            raise inner_errors([(("noise",), why, self.noise)])
        return self

    def open(self, seed: int, asked: bool) -> Any:
        """The source, drawn with ``seed``; ``asked``: questions. ValueError for things that do not fit."""
        from vitrail.data.scenes.named_things import NamedThings as Source

        chosen = self.model_dump(exclude={"kind", "seed", "turns"})
        if self.turns is not None and not asked:
            chosen["turns"] = self.turns
        return Source(**chosen, seed=seed, asked=asked)

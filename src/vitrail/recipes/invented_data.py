"""Data of a recipe that is invented, text by text: facts about people who do not exist, and translations."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Facts(BaseModel):
    """Facts about invented ``people`` (:mod:`vitrail.data.facts`): told as ``texts``, asked for in a given form as
    ``chats`` and ``questions``. ``seed`` draws people and words, as with scenes, ``world`` the people alone where it is
    given; ``fold`` takes half of those asked about, or texts and chats about everybody that are drawn anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["facts"] = "facts"
    form: Literal["texts", "chats", "questions"] = "texts"
    people: int = Field(default=32, ge=2, le=2000)
    fold: Literal["development", "test"] | None = None
    n: int = Field(default=1000, ge=1)
    seed: int | None = Field(default=None, ge=0)
    world: int | None = Field(default=None, ge=0)


class Translations(BaseModel):
    """Sentences in English and an invented language (:mod:`vitrail.data.translations`): ``pairs`` of translations, or
    ``sentences`` of both, one at a time. ``seed`` as with scenes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["translations"] = "translations"
    languages: tuple[str, str] = ("english", "arun")
    form: Literal["pairs", "sentences"] = "pairs"
    fold: Literal["train", "development", "test"] = "train"
    n: int = Field(default=1000, ge=1)
    seed: int | None = Field(default=None, ge=0)

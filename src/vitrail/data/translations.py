"""Sentences in English and in invented languages, with their translations and their entities, exactly known.

An invented language has words of its own (drawn from its name; names of people are English ones with an ending where
it is written in Latin letters), its own order of words, endings for objects and verbs, and where it is told so its own
script. So what one knows about a pair of languages is what its sentences taught, and which words are names, nouns and
verbs is known without a tagger. The meaning of a sentence decides its fold: no meaning that is asked about was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitrail.data.entities import Entity, EntityType, as_meta, fingerprint
from vitrail.data.records import Document, Group, Record, Text
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key

Fold = Literal["train", "development", "test"]
Form = Literal["pairs", "sentences"]

WORDS: dict[str, tuple[str, ...]] = {
    kind: tuple(words.split())
    for kind, words in {
        "name": "Ada Boris Clara Dimitri Elena Farid Greta Hamid Ines Jonas Kofi Lena Milan Nadia Omar Priya Quentin "
        "Rosa Samir Tomas Ursula Viktor Wanda Yusuf",
        "noun": "apple bridge camel door eagle field guitar house island jacket kettle ladder mountain needle orange "
        "pencil river stone table umbrella",
        "verb": "builds carries draws finds guards hides keeps lifts mends opens",
        "adjective": "blue broken clean dark empty green heavy large",
        "place": "behind beside near over",
        "time": "again alone early often quickly today",
    }.items()
}
_SCRIPTS = {
    "latin": ("b d f g k l m n p r s t v z ch sh", "a e i o u ai ou"),
    "greek": ("β γ δ ζ θ κ λ μ ν π ρ σ τ φ χ ψ", "α ε ι ο υ ω η"),
    "devanagari": ("क ख ग च ज ट ड त द न प ब म र ल स", "ा ि ी ु े ो"),
}
INVENTED: dict[str, tuple[str, str]] = {
    "arun": ("latin", "sov"),
    "belk": ("greek", "vso"),
    "cindra": ("devanagari", "sov"),
    "dorim": ("latin", "ovs"),
}
"""Languages with their scripts and orders of subject, verb and object."""
LANGUAGES = ("english", *INVENTED)


@dataclass(frozen=True)
class Meaning:
    """What a sentence says; -1 for what it does not say."""

    name: int
    verb: int
    adjective: int
    noun: int
    place: int
    other: int
    time: int


@dataclass(frozen=True)
class Grammar:
    """The words of a language by kind, and how they are put together."""

    words: dict[str, tuple[str, ...]]
    order: str
    after: bool
    """Adjectives and places stand behind their nouns."""
    ending: str
    article: str

    def say(self, meaning: Meaning) -> tuple[str, list[Entity]]:
        """A sentence and its entities."""
        said = {"s": [self._word("name", meaning.name)], "v": [self._word("verb", meaning.verb)]}
        said["o"] = self._noun(meaning.noun, meaning.adjective, self.ending)
        words = [word for part in self.order for word in said[part]]
        if meaning.other >= 0:
            where, thing = [self._word("place", meaning.place)], self._noun(meaning.other)
            words += [*thing, *where] if self.after else [*where, *thing]
        if meaning.time >= 0:
            words.append((None, self.words["time"][meaning.time]))
        return _joined(words)

    def _word(self, kind: str, number: int) -> tuple[EntityType | None, str]:
        return _ENTITIES.get(kind), self.words[kind][number]

    def _noun(
        self, number: int, adjective: int = -1, ending: str = ""
    ) -> list[tuple[EntityType | None, str]]:
        kind, noun = self._word("noun", number)
        more: list[tuple[EntityType | None, str]] = []
        if adjective >= 0:
            more = [(None, self.words["adjective"][adjective])]
        article: list[tuple[EntityType | None, str]] = [(None, self.article)] if self.article else []
        own = [(kind, noun + ending)]
        return [*own, *more] if self.after else [*article, *more, *own]


_ENTITIES: dict[str, EntityType] = {"name": "NE", "noun": "NOUN", "verb": "VERB"}


def _joined(words: Sequence[tuple[EntityType | None, str]]) -> tuple[str, list[Entity]]:
    text, found = "", []
    for kind, word in words:
        start = len(text) + bool(text)
        text = f"{text} {word}" if text else word
        if kind is not None:
            found.append(Entity(start, start + len(word), kind))
    return text, found


@cache
def grammar(language: str) -> Grammar:
    """ValueError for a language that is none of :data:`LANGUAGES`."""
    if language == "english":
        return Grammar(WORDS, "svo", False, "", "the")
    if language not in INVENTED:
        from vitrail.registry import nearest

        raise ValueError(f"there is no language {language!r}; {nearest(language, list(LANGUAGES))}")
    script, order = INVENTED[language]
    consonants, vowels = (part.split() for part in _SCRIPTS[script])
    rng = np.random.Generator(np.random.Philox(int(key("language", language)[:12], 16)))
    taken: set[str] = set()

    def word() -> str:
        while True:
            syllables = int(rng.integers(2, 5))
            made = "".join(str(rng.choice(consonants)) + str(rng.choice(vowels)) for _ in range(syllables))
            if made not in taken:
                taken.add(made)
                return made

    words = {kind: tuple(word() for _ in listed) for kind, listed in WORDS.items()}
    ending, called = (str(rng.choice(consonants)) + str(rng.choice(vowels)) for _ in range(2))
    if script == "latin":
        words["name"] = tuple(f"{name}{called}" for name in WORDS["name"])
    return Grammar(words, order, True, ending, "")


class Translations(RandomAccess):
    """``n`` meanings in two ``languages``: as ``pairs`` (groups), or as ``sentences`` (documents, both in turn:
    ``n`` of them). Which they are depends on (languages, fold, seed, number) alone.
    """

    root: Path | None = None

    def __init__(
        self,
        languages: tuple[str, str] = ("english", "arun"),
        n: int = 1000,
        form: Form = "pairs",
        fold: Fold = "train",
        seed: int = 0,
    ) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; give 1 or more")
        if languages[0] == languages[1]:
            raise ValueError(f"both languages are {languages[0]!r}; give two")
        self.languages, self.n, self.form, self.fold, self.seed = tuple(languages), n, form, fold, seed
        self._grammars = [grammar(one) for one in languages]
        self.name = f"translations-{'-'.join(languages)}/{form}/{fold}/{seed}"
        self.set_aside = SetAside(used=n)
        self._meanings = self._draw(n if form == "pairs" else -(-n // 2))
        self.fingerprint = key("translations", self.name, n, [vars(one) for one in self._meanings])

    def _draw(self, count: int) -> list[Meaning]:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 77])))
        found: dict[Meaning, None] = {}
        while len(found) < count:
            meaning = drawn(rng)
            if _fold_of(meaning) == self.fold:
                found[meaning] = None
        return list(found)

    def __len__(self) -> int:
        return self.n

    def _record(self, index: int) -> Record:
        name = f"{self.name}/{index}"
        if self.form == "pairs":
            texts, found = zip(*(one.say(self._meanings[index]) for one in self._grammars), strict=True)
            meta = {
                "languages": list(self.languages),
                "entities": [as_meta(one) for one in found],
                "entities_of": [fingerprint(one) for one in texts],
            }
            items: Any = [[Text(text=one)] for one in texts]
            return Group(id=name, relation="translation", items=items, meta=meta)
        side = index % 2
        text, entities = self._grammars[side].say(self._meanings[index // 2])
        meta = {
            "language": self.languages[side],
            "entities": as_meta(entities),
            "entities_of": [fingerprint(text)],
        }
        return Document(id=name, content=(Text(text=text),), meta=meta)


def drawn(rng: np.random.Generator) -> Meaning:
    """A meaning: half of them have an adjective, six of ten a place, half a time."""

    def one(kind: str, chance: float = 1.0) -> int:
        number = int(rng.integers(0, len(WORDS[kind])))
        return number if rng.random() < chance else -1

    place = one("place", 0.6)
    other = one("noun") if place >= 0 else -1
    return Meaning(
        one("name"), one("verb"), one("adjective", 0.5), one("noun"), place, other, one("time", 0.5)
    )


def _fold_of(meaning: Meaning) -> Fold:
    place = int(key("meaning", list(vars(meaning).values()))[:8], 16) / 16**8
    return "train" if place < 0.7 else "development" if place < 0.85 else "test"

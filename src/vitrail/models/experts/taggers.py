"""Taggers: who finds names, nouns and verbs in a text. The seam ``tagger``.

A tagger has ``entities(texts)``, a list of :class:`~vitrail.data.entities.Entity` for each text, in its characters,
and a ``fingerprint``. ``annotated`` reads what the data says (CoNLL-U files, ``meta.entities``); ``lexicon`` looks
words up; ``spacy``, ``stanza`` and ``token_classifier`` ask a model that is installed or that transformers loads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.entities import TYPES, Entity, EntityType, beside, checked, of_words
from vitrail.registry import nearest

_WORD = re.compile(r"\w[\w\u0300-\u036f\u0900-\u0dff'’-]*", re.UNICODE)
"""A word: letters and marks of any script (Indic vowel signs are marks, not letters), and hyphens within."""


class Settings(BaseModel):
    """Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tagger(Protocol):
    """What :class:`~vitrail.objectives.lem.LEM` asks."""

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text."""


class Annotated:
    """Reads what the data says: CoNLL files, or ``meta.entities`` of a record."""

    from_records = True

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """Nothing is known of a bare text. ValueError."""
        raise ValueError(
            "the data has no annotation (meta.entities); give CoNLL-U files, or another tagger: lexicon, spacy, "
            "stanza, token_classifier"
        )


class Lexicon:
    """Looks words up in a list. Longer entries come first, and may be several words."""

    class Config(Settings):
        """``words``: by type the words themselves; ``path``: a file of ``word TAB type`` lines, types NE, NOUN, VERB.

        ``lower``: upper and lower case are the same. ``endings``: what a word may end with beside an entry's form.
        """

        words: dict[EntityType, tuple[str, ...]] = {}
        path: str | None = Field(default=None, min_length=1)
        lower: bool = True
        endings: tuple[str, ...] = ()

    def __init__(self, config: Config) -> None:
        self.config = config
        if not config.words and config.path is None:
            raise ValueError(
                "the lexicon is empty; give words, or the path of a file of 'word TAB type' lines"
            )

    @cached_property
    def known(self) -> dict[tuple[str, ...], EntityType]:
        """Entries, as words, with their types. ValueError for a line that is none."""
        pairs = [(word, kind) for kind in reversed(TYPES) for word in self.config.words.get(kind, ())]
        return {self._words(entry): kind for entry, kind in [*pairs, *self._listed()] if self._words(entry)}

    def _listed(self) -> Iterator[tuple[str, EntityType]]:
        if self.config.path is None:
            return
        for number, line in enumerate(Path(self.config.path).read_text(encoding="utf-8").splitlines(), 1):
            word, _, kind = line.rstrip().partition("\t")
            if line.strip():
                if kind not in TYPES:
                    raise ValueError(
                        f"{self.config.path}: line {number} is no 'word TAB type'; {nearest(kind, list(TYPES))}"
                    )
                yield word, kind

    def _words(self, text: str) -> tuple[str, ...]:
        return tuple(self._form(found[0]) for found in _WORD.finditer(text))

    def _form(self, word: str) -> str:
        return word.lower() if self.config.lower else word

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entries that stand in each text."""
        longest = max((len(entry) for entry in self.known), default=1)
        return [list(self._found(text, longest)) for text in texts]

    def _found(self, text: str, longest: int) -> Iterator[Entity]:
        words = [(self._form(found[0]), found.start(), found.end()) for found in _WORD.finditer(text)]
        place = 0
        while place < len(words):
            for size in range(min(longest, len(words) - place), 0, -1):
                kind = self._kind(tuple(word for word, *_ in words[place : place + size]))
                if kind is not None:
                    yield Entity(words[place][1], words[place + size - 1][2], kind)
                    break
            place += size if kind is not None else 1

    def _kind(self, words: tuple[str, ...]) -> EntityType | None:
        *before, last = words
        forms = [last, *(last.removesuffix(end) for end in self.config.endings if last.endswith(end))]
        return next((found for form in forms if (found := self.known.get((*before, form)))), None)


class Spacy:
    """An installed pipeline of spaCy."""

    class Config(Settings):
        """``model``: its package (``xx_ent_wiki_sm``) or folder."""

        model: str = Field(min_length=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def _pipeline(self) -> Any:
        try:
            import spacy
        except ImportError:
            raise ImportError("the tagger 'spacy' needs spaCy: pip install spacy, and a pipeline") from None
        try:
            return spacy.load(self.config.model)
        except OSError as error:
            raise ValueError(
                f"spaCy has no pipeline {self.config.model!r}; install it first ({error})"
            ) from None

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """Of each text."""
        return [self._of(document) for document in self._pipeline.pipe(texts)]

    def _of(self, document: Any) -> list[Entity]:
        names = [Entity(one.start_char, one.end_char, "NE") for one in document.ents]
        words = [(token.idx, token.idx + len(token.text)) for token in document]
        rest = of_words(words, [token.pos_ for token in document])
        return checked(beside(names, rest), document.text)


class Stanza:
    """An installed pipeline of Stanza, without download."""

    class Config(Settings):
        """``language``: its code; ``processors`` of the pipeline."""

        language: str = Field(min_length=1)
        processors: str = "tokenize,pos,ner"

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def _pipeline(self) -> Any:
        try:
            import stanza
        except ImportError:
            raise ImportError(
                "the tagger 'stanza' needs Stanza: pip install stanza, and its models"
            ) from None
        settings = {"lang": self.config.language, "processors": self.config.processors}
        return stanza.Pipeline(**settings, download_method=None, verbose=False)

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """Of each text."""
        return [self._of(self._pipeline(text), text) for text in texts]

    def _of(self, document: Any, text: str) -> list[Entity]:
        names = [Entity(one.start_char, one.end_char, "NE") for one in getattr(document, "ents", ())]
        words = [
            word for sentence in document.sentences for word in sentence.words if word.start_char is not None
        ]
        rest = of_words([(word.start_char, word.end_char) for word in words], [word.upos for word in words])
        return checked(beside(names, rest), text)


class TokenClassifier:
    """Models of transformers that classify tokens: one for parts of speech, one for names, or either."""

    class Config(Settings):
        """``names`` and ``parts``: folders or hub names; of the labels of ``parts`` universal and Penn's are known."""

        names: str | None = Field(default=None, min_length=1)
        parts: str | None = Field(default=None, min_length=1)
        batch_size: int = Field(default=16, ge=1)

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.names is None and config.parts is None:
            raise ValueError("a token classifier needs names or parts: the folder or hub name of a model")

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """Of each text."""
        found: list[list[Entity]] = [[] for _ in texts]
        for name in filter(None, (self.config.names, self.config.parts)):
            for place, more in enumerate(self._asked(name, list(texts))):
                found[place] = beside(found[place], more)
        return [checked(one, text) for one, text in zip(found, texts, strict=True)]

    def _asked(self, name: str, texts: list[str]) -> Iterator[list[Entity]]:
        from transformers import pipeline

        ask: Any = pipeline(
            "token-classification",
            model=name,
            aggregation_strategy="first",
            batch_size=self.config.batch_size,
        )
        for text, groups in zip(texts, ask(texts), strict=True):
            places = [(one["start"], one["end"]) for one in groups]
            labels = [str(one["entity_group"]) for one in groups]
            if name == self.config.parts:
                yield of_words(places, labels)
            else:
                yield [
                    Entity(start + len(text[start:end]) - len(text[start:end].lstrip()), end, "NE")
                    for start, end in places
                ]

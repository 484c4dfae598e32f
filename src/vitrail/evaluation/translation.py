"""Retrieval of translations as questions: which of all sentences of the other language says the same?

The inferencer ``translation`` ranks by the margin of mean-pooled vectors (:mod:`vitrail.curation.bitext`) or by cosine.
Accuracy is then the share of sentences whose translation is found, from both sides; chance is one over their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.similarity import ranked
from vitrail.evaluation.task import Settings

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


@dataclass(frozen=True)
class AskedSentence:
    """A sentence, those of its language that compete with it, and what may be its translation."""

    text: str
    beside: tuple[str, ...]
    options: tuple[str, ...]


class Translation:
    """Rank sentences by how surely they say the same."""

    gives = "ranking"

    class Config(Settings):
        """``score``: ``margin`` over the ``k`` nearest of each side, or ``cosine``. ``pooling``: of the states."""

        score: Literal["margin", "cosine"] = "margin"
        k: int = Field(default=4, ge=1)
        pooling: Literal["mean", "first"] = "mean"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._vectors: dict[str, np.ndarray] = {}
        self._scores: dict[tuple[int, int], tuple[Any, np.ndarray]] = {}

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> AskedSentence:
        """ValueError for a model that is no masked encoder, or a question that does not come from translations."""
        if bundle.family.kind != "encoder":
            raise ValueError(
                f"inferencer 'translation' needs a masked encoder, and this model is a {bundle.family.kind} one; use "
                "'likelihood'"
            )
        *before, last = prompt.chat.messages
        if not before or before[0].role != "system" or not prompt.options:
            raise ValueError("is no sentence with its competitors; give a source of translations")
        beside = tuple(part.text for part in before[0].content if isinstance(part, Text))
        if self.config.score == "margin" and self.config.k > min(len(beside), len(prompt.options)):
            raise ValueError(
                f"k is {self.config.k}, and there are {len(beside)} and {len(prompt.options)} sentences; give fewer"
            )
        return AskedSentence(last.text, beside, prompt.options)

    def ask(self, bundle: Bundle, asked: list[AskedSentence], batch_size: int) -> list[dict[str, Any]]:
        """For each: the ``values`` ranked by, ``choice``, ``margin``, ``tie``. Options within 1e-5 are tied."""
        found = []
        for one in asked:
            scores = self._table(bundle, one, batch_size)
            found.append(ranked([float(value) for value in scores[one.beside.index(one.text)]]))
        return found

    def _table(self, bundle: Bundle, one: AskedSentence, batch_size: int) -> np.ndarray:
        """The scores of all sentences of one side against all of the other, made once a direction."""
        from vitrail.curation.bitext import cosines, margins

        name = (hash(one.beside), hash(one.options))
        if name not in self._scores:
            x, y = (self._embedded(bundle, texts, batch_size) for texts in (one.beside, one.options))
            cosine = cosines(x, y)
            scores = cosine if self.config.score == "cosine" else margins(cosine, self.config.k)
            self._scores[name] = (one, scores)
        return self._scores[name][1]

    def _embedded(self, bundle: Any, texts: tuple[str, ...], batch_size: int) -> np.ndarray:
        lacking = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if lacking:
            vectors = bundle.embed(lacking, batch_size, self.config.pooling).numpy()
            self._vectors |= dict(zip(lacking, vectors, strict=True))
        return np.stack([self._vectors[text] for text in texts])

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """Nothing beyond the settings."""
        return {}


class EveryTranslation:
    """A source of pairs as questions, two a pair: which sentence of the other language says this, and the reverse.

    A pair that shares a text with an earlier one is left out. ValueError for fewer than two pairs, or a record that is
    no pair of translations.
    """

    def __init__(self, source: Any) -> None:
        from vitrail.models.sentences import texts_of

        self.source, self.root = source, source.root
        seen: tuple[set[str], set[str]] = (set(), set())
        pairs, languages = [], set()
        for number, record in enumerate(source):
            try:
                texts = texts_of(record)
                if len(texts) != 2:
                    raise ValueError("it is one text; retrieval needs translations")
            except ValueError as error:
                raise ValueError(f"record {number} of {source.name}: {error}") from None
            if texts[0] not in seen[0] and texts[1] not in seen[1]:
                pairs.append(texts)
                languages.add(tuple(record.meta.get("languages", ("first", "second"))))
                for side in (0, 1):
                    seen[side].add(texts[side])
        if len(pairs) < 2:
            raise ValueError(f"{source.name} has {len(pairs)} different pairs; retrieval needs 2 or more")
        self._texts = list(zip(*pairs, strict=True))
        self._options = [tuple((Text(text=text),) for text in side) for side in self._texts]
        self._beside = [
            Message(role="system", content=tuple(Text(text=text) for text in side)) for side in self._texts
        ]
        self._names = next(iter(languages)) if len(languages) == 1 else ("first", "second")

    @property
    def name(self) -> str:
        """For logs and reports."""
        return f"{self.source.name}/retrieval"

    @property
    def fingerprint(self) -> str:
        """Of the pairs, and of being asked so."""
        from vitrail.storage.cache import key

        return key("every-translation", self.source.fingerprint)

    def __len__(self) -> int:
        return 2 * len(self._texts[0])

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Chat:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place, side = divmod(index, 2)
        asked = Message(role="user", content=(Text(text=self._texts[side][place]),))
        return Chat(
            id=f"{self.name}/{place}/{side}",
            messages=(self._beside[side], asked),
            choices=Choices(options=self._options[1 - side], answer=place),
            meta={"kind": f"{self._names[side]} to {self._names[1 - side]}", "picture": f"pair {place}"},
        )

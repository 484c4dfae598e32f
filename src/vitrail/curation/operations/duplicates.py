"""Texts and documents that are there again.

As mOSCAR (arXiv 2406.08707), for each language: equal documents; equal texts inside a document; texts inside a document
whose Levenshtein ratio is above 0.95; and documents alike by MinHash with locality-sensitive hashing over character
4- and 5-grams inside words, 256 permutations, Jaccard threshold 0.8. The first one, in the corpus's order, stays.

The paper hashes with scikit-learn and datasketch; here rensa makes the signatures (MinHash all the same, an order of
magnitude faster). Bands and rows are settings, and a candidate must also have an estimated Jaccard of ``threshold``
less ``slack``: with 32 bands of 8 rows a pair at 0.8 is a candidate in 99.7 % of cases, one at 0.5 still in 12 %.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from vitrail.curation.operations.operation import (
    CorpusOperation,
    Operation,
    OperationConfig,
    Outcome,
    dropped,
    language_of,
    needs,
    texts_of,
    without_parts,
)
from vitrail.data.records import Document, Text

_SPACE = re.compile(r"\s+")


def normalised(text: str) -> str:
    """NFKC, lower case, runs of white space as one space."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()


class RepeatedTexts(Operation):
    """Texts of a document that came before in it, equal or almost."""

    class Config(OperationConfig):
        """``above``: the ratio above which two texts are alike; ``metric``: ``indel`` is the ratio of the Levenshtein
        package (insertions and deletions alone), ``levenshtein`` counts replacements as one.
        """

        above: float = Field(default=0.95, ge=0, le=1)
        metric: Literal["indel", "levenshtein"] = "indel"

    config: Config
    packages: ClassVar[tuple[str, ...]] = ("rapidfuzz",)

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        try:
            from rapidfuzz import distance
        except ImportError:
            raise needs("rapidfuzz", "repeated_texts") from None
        measure: Any = distance.Indel if self.config.metric == "indel" else distance.Levenshtein
        self._ratio = measure.normalized_similarity

    def __call__(self, document: Document) -> Outcome:
        """The document without the repeated texts."""
        seen: list[str] = []
        equal: set[str] = set()
        why: list[str | None] = []
        for part in document.content:
            reason = None
            if isinstance(part, Text):
                if part.text in equal:
                    reason = "repeated text"
                elif any(self._alike(part.text, other) for other in seen):
                    reason = "nearly repeated text"
                else:
                    seen.append(part.text)
                    equal.add(part.text)
            why.append(reason)
        return without_parts(document, why)

    def _alike(self, text: str, other: str) -> bool:
        cutoff = self.config.above
        if 2 * min(len(text), len(other)) <= cutoff * (len(text) + len(other)):
            return False  # lengths alone keep either ratio at or below the limit
        return float(self._ratio(text, other, score_cutoff=cutoff)) > cutoff


class ExactDuplicates(CorpusOperation):
    """Documents whose texts, normalised, are those of an earlier one of their language."""

    def sketch_schema(self) -> Any:
        """Language and a hash of the texts."""
        import pyarrow as pa

        return pa.schema([("language", pa.string()), ("digest", pa.binary())])

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        text = "\n".join(map(normalised, texts_of(document)))
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        return {"language": language_of(document), "digest": digest}

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """The position of the first equal document, for each later one."""
        first: dict[tuple[str, bytes], int] = {}
        decisions = {}
        for place, sketch in enumerate(sketches):
            earlier = first.setdefault((sketch["language"], sketch["digest"]), place)
            if earlier != place:
                decisions[place] = earlier
        return decisions

    def apply(self, document: Document, decision: Any) -> Outcome:
        """Dropped."""
        return dropped("exact duplicate")


class NearDuplicates(CorpusOperation):
    """Documents alike to an earlier one of their language, that was kept."""

    class Config(OperationConfig):
        """``bands`` × ``rows`` permutations; ``ngrams``: lengths of n-grams of ``unit``; ``slack``: how far below
        ``threshold`` the estimate may be (its standard deviation at 0.8 and 256 permutations is 0.025).
        """

        threshold: float = Field(default=0.8, gt=0, le=1)
        slack: float = Field(default=0.05, ge=0, lt=1)
        bands: int = Field(default=32, ge=1)
        rows: int = Field(default=8, ge=1)
        ngrams: tuple[int, ...] = Field(default=(4, 5), min_length=1)
        unit: Literal["characters", "words"] = "characters"
        seed: int = 0

        @model_validator(mode="after")
        def _positive(self) -> NearDuplicates.Config:
            if min(self.ngrams) < 1:
                raise ValueError(f"ngrams must be 1 or more {self.unit} long")
            return self

    config: Config
    packages: ClassVar[tuple[str, ...]] = ("rensa",)

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        try:
            from rensa import RMinHash
        except ImportError:
            raise needs("rensa", "near_duplicates") from None
        self._minhash = RMinHash

    def sketch_schema(self) -> Any:
        """Language and signature (uint32, little-endian); an empty signature for a document without n-grams."""
        import pyarrow as pa

        return pa.schema([("language", pa.string()), ("signature", pa.binary())])

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        ngrams = character_ngrams if self.config.unit == "characters" else word_ngrams
        grams = sorted(ngrams("\n".join(texts_of(document)), self.config.ngrams))
        if not grams:
            return {"language": language_of(document), "signature": b""}
        minhash = self._minhash(num_perm=self.config.bands * self.config.rows, seed=self.config.seed)
        minhash.update(grams)
        signature = np.asarray(minhash.digest(), dtype="<u4").tobytes()
        return {"language": language_of(document), "signature": signature}

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """The position of the first document kept that is alike, for each one that goes."""
        width = self.config.rows * 4
        tables: dict[tuple[str, int, bytes], list[int]] = {}
        kept: dict[int, np.ndarray] = {}
        decisions: dict[int, int] = {}
        for place, sketch in enumerate(sketches):
            raw, language = sketch["signature"], sketch["language"]
            if not raw:
                continue
            keys = [
                (language, band, raw[band * width : (band + 1) * width]) for band in range(self.config.bands)
            ]
            signature = np.frombuffer(raw, dtype="<u4")
            candidates = sorted({one for key in keys for one in tables.get(key, ())})
            limit = self.config.threshold - self.config.slack
            alike = next((one for one in candidates if (kept[one] == signature).mean() >= limit), None)
            if alike is not None:
                decisions[place] = alike
                continue
            kept[place] = signature
            for key in keys:
                tables.setdefault(key, []).append(place)
        return decisions

    def apply(self, document: Document, decision: Any) -> Outcome:
        """Dropped."""
        return dropped("near duplicate")


def character_ngrams(text: str, lengths: Iterable[int]) -> set[str]:
    """Different n-grams of characters inside words, with a space at both ends of a word (scikit-learn's ``char_wb``);
    a word shorter than n is one n-gram.
    """
    found: set[str] = set()
    sizes = tuple(lengths)
    for word in set(normalised(text).split()):
        padded = f" {word} "
        for n in sizes:
            found.update(padded[start : start + n] for start in range(max(len(padded) - n + 1, 1)))
    return found


def word_ngrams(text: str, lengths: Iterable[int]) -> set[str]:
    """Different n-grams of words (separated by white space); a text of fewer words is one n-gram."""
    found: set[str] = set()
    words = normalised(text).split()
    for n in lengths:
        found.update(
            " ".join(words[start : start + n]) for start in range(max(len(words) - n + 1, 1 if words else 0))
        )
    return found

"""Whether text and picture belong together, by rank against random negatives: mOSCAR's joint filter.

Futeral et al., "mOSCAR" (arXiv 2406.08707). With s(t, i) the cosine of a dual encoder, a text t of a document is valid
iff for at least one of its pictures i, s(t, i) is among the ``top_k`` = 8 highest of {s(t, i)} ∪ {s(t, i′₁ … i′₆₃)}
with 63 pictures i′ of other documents of its language; a picture i iff for at least one t, s(t, i) is among the 8
highest of {s(t, i)} ∪ {s(t′₁ … t′₆₃, i)} with texts t′ of similar length. Ties count for the pair itself. As only
ranks decide, nothing changes under an increasing transform of the scores, so that lengths and languages compare.

Scores within ``TIES`` of each other are ties: an embedding's last digits depend on the batch that it was made in, and
pictures and texts that are there many times must not be ranked by them.

Negatives are drawn from at most ``pool`` documents a language (the first ones by a hash of their place), and texts
from the ``length_window`` nearest in length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator

from vitrail.curation.operations.operation import (
    CorpusOperation,
    OperationConfig,
    Outcome,
    images_of,
    language_of,
    texts_of,
    without_parts,
)
from vitrail.data.records import Document, Image, Text

TIES = 1e-5
"""Cosines that differ by no more are taken for equal."""
_HELD_PIXELS = 32_000_000
"""Pixels of decoded pictures that wait for a batch to be full."""


def in_top(
    scores: Float[np.ndarray, "pairs"], negatives: Float[np.ndarray, "pairs negatives"], top_k: int
) -> Bool[np.ndarray, "pairs"]:
    """Whether each score is among the ``top_k`` highest of itself and its negatives; ties count for it.

    ValueError for ``top_k`` beyond the number of negatives and one, and for what is not finite.
    """
    if not 1 <= top_k <= negatives.shape[1] + 1:
        raise ValueError(
            f"top_k is {top_k}, with {negatives.shape[1]} negatives; take 1 to {negatives.shape[1] + 1}"
        )
    if not (np.isfinite(scores).all() and np.isfinite(negatives).all()):
        raise ValueError("a score is not finite; set documents with broken embeddings aside")
    return (negatives > scores[:, None]).sum(axis=1) < top_k


def windows(n: int, pairs: int, size: int, random: np.random.Philox) -> Int[np.ndarray, "pairs size"]:
    """``size`` different indices below ``n`` for each pair: consecutive stretches of one permutation, so that pairs
    share none while there are enough.
    """
    order = np.argsort(random.random_raw(n), kind="stable")
    return order[(np.arange(pairs)[:, None] * size + np.arange(size)[None, :]) % n]


class _Pool:
    """Embeddings of one language from which negatives come, with the document of each."""

    def __init__(self) -> None:
        self.texts: list[np.ndarray] = []
        self.lengths: list[int] = []
        self.images: list[np.ndarray] = []
        self.text_owner: list[int] = []
        self.image_owner: list[int] = []

    def close(self) -> None:
        order = np.argsort(np.asarray(self.lengths, dtype=np.int64), kind="stable")
        self.text_matrix = np.asarray(self.texts)[order] if self.texts else np.zeros((0, 0))
        self.sorted_lengths = np.asarray(self.lengths, dtype=np.int64)[order]
        self.text_owners = np.asarray(self.text_owner, dtype=np.int64)[order]
        self.image_matrix = np.asarray(self.images) if self.images else np.zeros((0, 0))
        self.image_owners = np.asarray(self.image_owner, dtype=np.int64)

    def near(self, length: int, owner: int, window: int) -> Int[np.ndarray, "near"]:
        """Texts of other documents, the nearest in length first; at most ``window``."""
        other = np.flatnonzero(self.text_owners != owner)
        nearest = np.argsort(np.abs(self.sorted_lengths[other] - length), kind="stable")[:window]
        return other[nearest]


class RankRelevance(CorpusOperation):
    """Texts and pictures that belong to nothing in their document are removed."""

    class Config(OperationConfig):
        """``encoder``: a CLIP, SigLIP or dual encoder of ours: folder, run or hub name. ``text_only``: what becomes of
        documents without a picture that is at hand: kept as they are, or dropped.
        """

        encoder: str
        n_negatives: int = Field(default=63, ge=1)
        top_k: int = Field(default=8, ge=1)
        pool: int = Field(default=2000, ge=2)
        length_window: int = Field(default=512, ge=1)
        seed: int = 0
        text_only: bool = True

        @model_validator(mode="after")
        def _ranks(self) -> RankRelevance.Config:
            if self.top_k > self.n_negatives + 1:
                raise ValueError(
                    f"top_k is {self.top_k}, but a pair is ranked among {self.n_negatives + 1}; lower it"
                )
            if self.length_window < self.n_negatives:
                raise ValueError("length_window must be n_negatives or more")
            return self

    config: Config
    sketched_together: ClassVar[int] = 64

    def __init__(self, config: Config, scorer: Any = None) -> None:
        super().__init__(config)
        self._scorer = scorer

    @property
    def scorer(self) -> Any:
        """The dual encoder, loaded when it is first asked: ``embed_texts`` and ``embed_images`` give unit vectors."""
        if self._scorer is None:
            from vitrail.models.experts.clip_scorer import ClipScorer

            self._scorer = ClipScorer.from_pretrained(self.config.encoder)
        return self._scorer

    def fingerprint(self) -> dict[str, Any]:
        """That of the encoder."""
        return {"encoder": self.scorer.fingerprint}

    def sketch_schema(self) -> Any:
        """Language, lengths of the texts, and all embeddings as float32; ``readable`` names pictures at hand."""
        import pyarrow as pa

        return pa.schema(
            [
                ("language", pa.string()),
                ("lengths", pa.list_(pa.int64())),
                ("texts", pa.binary()),
                ("images", pa.binary()),
                ("readable", pa.list_(pa.int64())),
            ]
        )

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        return self.sketches([document])[0]

    def sketches(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """See :meth:`sketch_schema`. Pictures of all documents share batches, and so do texts, longest first."""
        texts = [texts_of(document) for document in documents]
        readable, seen = self._seen(documents, [bool(one) for one in texts])
        judged = [bool(a and b) for a, b in zip(texts, readable, strict=True)]
        read = self._read([text for one, both in zip(texts, judged, strict=True) if both for text in one])
        if len(read) and read.shape[1] != seen.shape[1]:
            raise ValueError(
                f"texts have {read.shape[1]} dimensions and pictures {seen.shape[1]}; use one dual encoder"
            )
        found, text_at, image_at = [], 0, 0
        for document, some, pictures, both in zip(documents, texts, readable, judged, strict=True):
            text_to, image_to = text_at + len(some) * both, image_at + len(pictures) * both
            row = {
                "language": language_of(document),
                "lengths": [len(text) for text in some],
                "texts": np.asarray(read[text_at:text_to], dtype="<f4").tobytes(),
                "images": np.asarray(seen[image_at:image_to], dtype="<f4").tobytes(),
                "readable": pictures,
            }
            found.append(row)
            text_at, image_at = text_to, image_to
        return found

    def _seen(
        self, documents: Sequence[Document], wanted: Sequence[bool]
    ) -> tuple[list[list[int]], np.ndarray]:
        """Which pictures of each document can be decoded, and the embeddings of all in ``wanted`` documents."""
        size = getattr(self.scorer, "batch_size", 32)
        readable: list[list[int]] = []
        parts: list[np.ndarray] = []
        held: list[Any] = []
        pixels = 0
        for document, embed in zip(documents, wanted, strict=True):
            readable.append([])
            for number, image in enumerate(images_of(document)):
                try:
                    picture = image.open(self.root)
                except (ValueError, OSError):
                    continue
                readable[-1].append(number)
                if embed:
                    held.append(picture)
                    pixels += picture.width * picture.height
                if len(held) == size or pixels > _HELD_PIXELS:
                    parts.append(self.scorer.embed_images(held))
                    held, pixels = [], 0
        if held:
            parts.append(self.scorer.embed_images(held))
        return readable, np.concatenate(parts) if parts else np.zeros((0, 0))

    def _read(self, texts: list[str]) -> np.ndarray:
        """Embeddings of texts in their order; equal ones are read once."""
        if not texts:
            return np.zeros((0, 0))
        once = sorted(set(texts), key=lambda text: (-len(text), text))
        place = {text: number for number, text in enumerate(once)}
        found: np.ndarray = self.scorer.embed_texts(once)
        return found[[place[text] for text in texts]]

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """For each document with texts and pictures at hand: which of its texts and pictures stay."""
        pools = self._pools(sketches)
        decisions: dict[int, Any] = {}
        for place, sketch in enumerate(sketches):
            texts, images = _arrays(sketch)
            if texts is None or images is None:
                if not self.config.text_only:
                    decisions[place] = {"texts": [], "images": []}
                continue
            keep_texts, keep_images = self.judge(
                texts, images, sketch["lengths"], pools[sketch["language"]], place
            )
            kept = [number for number, keep in zip(sketch["readable"], keep_images, strict=True) if keep]
            decisions[place] = {"texts": np.flatnonzero(keep_texts).tolist(), "images": kept}
        return decisions

    def _pools(self, sketches: Iterable[dict[str, Any]]) -> dict[str, _Pool]:
        pools: dict[str, _Pool] = {}
        held: dict[str, int] = {}
        for place, sketch in enumerate(sketches):
            texts, images = _arrays(sketch)
            language = sketch["language"]
            pool = pools.setdefault(language, _Pool())
            if texts is None or images is None or held.get(language, 0) >= self.config.pool:
                continue
            held[language] = held.get(language, 0) + 1
            pool.texts += list(texts)
            pool.lengths += sketch["lengths"]
            pool.text_owner += [place] * len(texts)
            pool.images += list(images)
            pool.image_owner += [place] * len(images)
        for pool in pools.values():
            pool.close()
        return pools

    def judge(
        self,
        texts: Float[np.ndarray, "texts dim"],
        images: Float[np.ndarray, "images dim"],
        lengths: list[int],
        pool: Any,
        place: int,
    ) -> tuple[Bool[np.ndarray, "texts"], Bool[np.ndarray, "images"]]:
        """Which texts and which pictures of the document at ``place`` are valid.

        ValueError when other documents of the language have fewer negatives than asked for.
        """
        n, k = self.config.n_negatives, self.config.top_k
        others = np.flatnonzero(pool.image_owners != place)
        near = [pool.near(length, place, self.config.length_window) for length in lengths]
        fewest = min(len(others), *(len(one) for one in near))
        if fewest < n:
            raise ValueError(
                f"other documents of its language give {fewest} negatives, and n_negatives is {n}; curate more "
                "documents of the language together, leave the language out, or lower n_negatives"
            )
        random = np.random.Philox(key=[self.config.seed, place])
        rows = np.repeat(np.arange(len(texts)), len(images))
        columns = np.tile(np.arange(len(images)), len(texts))
        scores = (texts[rows] * images[columns]).sum(axis=1)
        foreign = pool.image_matrix[others[windows(len(others), len(rows), n, random)]]
        text_ok = in_top(scores + TIES, np.einsum("pnd,pd->pn", foreign, texts[rows]), k)
        drawn = np.concatenate([one[windows(len(one), len(images), n, random)] for one in near])
        image_ok = in_top(scores + TIES, np.einsum("pnd,pd->pn", pool.text_matrix[drawn], images[columns]), k)
        shape = (len(texts), len(images))
        return np.any(text_ok.reshape(shape), axis=1), np.any(image_ok.reshape(shape), axis=0)

    def apply(self, document: Document, decision: Any) -> Outcome:
        """The document with its valid texts and pictures."""
        return with_parts(document, decision)


def with_parts(document: Document, decision: Mapping[str, Any]) -> Outcome:
    """The document with the ``texts`` and ``images`` that a decision names by number; parts of other kinds stay."""
    texts, images = set(decision["texts"]), set(decision["images"])
    why: list[str | None] = []
    seen = {Text: -1, Image: -1}
    for part in document.content:
        kind = type(part)
        if kind not in seen:
            why.append(None)
            continue
        seen[kind] += 1
        valid = seen[kind] in (texts if kind is Text else images)
        why.append(None if valid else f"{part.type} of no relevance")
    return without_parts(document, why)


def above(sketches: Iterable[dict[str, Any]], threshold: float) -> Mapping[int, Any]:
    """The decisions of a fixed threshold, as other corpora have it: a text and a picture stay whose cosine with one
    part of the other kind is ``threshold`` or more. It depends on language and length; it is here to be compared with.
    """
    decisions = {}
    for place, sketch in enumerate(sketches):
        texts, images = _arrays(sketch)
        if texts is None or images is None:
            continue
        fits = texts @ images.T >= threshold
        kept = [number for number, keep in zip(sketch["readable"], fits.any(axis=0), strict=True) if keep]
        decisions[place] = {"texts": np.flatnonzero(fits.any(axis=1)).tolist(), "images": kept}
    return decisions


def _arrays(sketch: dict[str, Any]) -> tuple[Any, Any]:
    """Embeddings of texts and pictures; None where there are none."""
    texts, images = len(sketch["lengths"]), len(sketch["readable"])
    if not texts or not images or not sketch["texts"]:
        return None, None
    return (
        np.frombuffer(sketch["texts"], dtype="<f4").reshape(texts, -1),
        np.frombuffer(sketch["images"], dtype="<f4").reshape(images, -1),
    )

"""Retrieval scores: is the right text among the nearest to a picture, and the right picture to a text?

R@k, the share of queries with a right answer among the first k, and the rank of the first right answer, in both
directions. There may be several right answers (several captions of a picture, one caption of several pictures).

Ties are counted honestly. Items of equal score stand in a random order, and what is reported is its expectation: with
g wrong items above the best right one, and t items of its score of which r are right, the first right one has rank
``g + (t + 1) / (r + 1)`` on average, and is among the first k with probability ``1 − C(t − r, k − g) / C(t, k − g)``.
So a model that gives every pair one score is at chance, not at 1.

Intervals are over clusters (pictures): several captions of one picture are not independent.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from vitrail.statistics.intervals import Estimate, clustered_bootstrap, proportion

if TYPE_CHECKING:
    from vitrail.data.sources import Source
    from vitrail.models.experts.clip_scorer import ClipScorer

DEPTHS = (1, 5, 10)


@dataclass(frozen=True)
class Direction:
    """Scores of one direction over ``queries`` in a ``gallery`` of so many items.

    ``recall``: R@k by k, with its interval; ``chance``: the same for a random order; ``median_rank`` of the first right
    answer (1 is the best) and its interval (percentile bootstrap over clusters).
    """

    queries: int
    gallery: int
    recall: dict[int, Estimate]
    chance: dict[int, float]
    median_rank: float
    median_interval: tuple[float, float]

    def __str__(self) -> str:
        shown = ", ".join(f"R@{k} {value} (chance {self.chance[k]:.3f})" for k, value in self.recall.items())
        return f"{shown}, median rank {self.median_rank:g} of {self.gallery}"


@dataclass(frozen=True)
class Retrieval:
    """Both directions."""

    image_to_text: Direction
    text_to_image: Direction

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"image → text: {self.image_to_text}\ntext → image: {self.text_to_image}"


def retrieval(
    scores: Float[np.ndarray, "images texts"],
    right: Bool[np.ndarray, "images texts"],
    *,
    depths: Sequence[int] = DEPTHS,
    image_clusters: Sequence[Hashable] | None = None,
    text_clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Retrieval:
    """Scores of both directions.

    Args:
        scores: higher is more alike.
        right: which text belongs to which picture; every picture and every text needs at least one.
        depths: the k of R@k; those beyond a gallery are 1 by themselves.
        image_clusters: what each picture belongs to (default: itself).
        text_clusters: what each text belongs to (default: the first picture that it is right for).
        seed: of the bootstrap.
    """
    scores, right = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    if scores.ndim != 2 or scores.shape != right.shape:
        raise ValueError(f"scores {scores.shape} and right {right.shape} must both be (images, texts)")
    if text_clusters is None:
        first = right.argmax(0)
        text_clusters = [
            first[j] if image_clusters is None else image_clusters[first[j]] for j in range(len(first))
        ]
    return Retrieval(
        direction(scores, right, depths=depths, clusters=image_clusters, seed=seed),
        direction(scores.T, right.T, depths=depths, clusters=text_clusters, seed=seed),
    )


def retrieve(
    scorer: ClipScorer, source: Source, *, depths: Sequence[int] = DEPTHS, seed: int = 0
) -> Retrieval:
    """Both directions over the pairs of a source (:func:`vitrail.models.pairs.pair_of` says what one is).

    Equal pictures are one picture, and equal texts one text, right for all that they stand with. Pictures are clusters.
    ValueError names the record that is no pair.
    """
    from vitrail.models.pairs import pair_of

    images: dict[bytes, Any] = {}
    texts: dict[str, int] = {}
    pairs: set[tuple[int, int]] = set()
    places: dict[bytes, int] = {}
    for number, record in enumerate(source):
        try:
            image, text = pair_of(record)
            content = image.read(source.root)
            images.setdefault(content, image.open(source.root))
        except (ValueError, OSError) as error:
            raise ValueError(f"record {number} of {source.name}: {error}") from None
        row, column = places.setdefault(content, len(places)), texts.setdefault(text, len(texts))
        pairs.add((row, column))
    right = np.zeros((len(images), len(texts)), dtype=bool)
    right[tuple(np.array(sorted(pairs)).T)] = True
    return retrieval(scorer.scores(list(images.values()), list(texts)), right, depths=depths, seed=seed)


def direction(
    scores: Float[np.ndarray, "queries gallery"],
    right: Bool[np.ndarray, "queries gallery"],
    *,
    depths: Sequence[int] = DEPTHS,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Direction:
    """Scores of queries against a gallery. ValueError for scores that are no numbers, a query without a right answer,
    fewer than two queries, and depths below 1.
    """
    queries, gallery = scores.shape
    if queries < 2:
        raise ValueError(f"there are {queries} queries; retrieval with an interval needs 2 or more")
    if not depths or min(depths) < 1:
        raise ValueError(f"depths are {tuple(depths)}; give whole numbers of 1 or more")
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"the score of query {row} and item {column} is {scores[row, column]}")
    if not right.any(1).all():
        raise ValueError(
            f"query {int(np.argmin(right.any(1)))} has no right answer in the gallery; leave it out"
        )
    places = [_place(one, is_right) for one, is_right in zip(scores, right, strict=True)]
    recall = {
        k: _estimate(np.array([_within(k, *place) for place in places]), clusters, seed) for k in depths
    }
    counts = right.sum(1)
    chance = {k: float(np.mean([_within(k, 0, gallery, int(r)) for r in counts])) for k in depths}
    ranks = np.array([above + (tied + 1) / (good + 1) for above, tied, good in places])
    return Direction(
        queries=queries,
        gallery=gallery,
        recall=recall,
        chance=chance,
        median_rank=float(np.median(ranks)),
        median_interval=_median_interval(ranks, clusters, seed),
    )


def first_ranks(
    scores: Float[np.ndarray, "queries gallery"], right: Bool[np.ndarray, "queries gallery"]
) -> Float[np.ndarray, "queries"]:
    """The expected rank of each query's first right answer, 1 for the best."""
    places = [_place(one, is_right) for one, is_right in zip(scores, right, strict=True)]
    return np.array([above + (tied + 1) / (good + 1) for above, tied, good in places])


def _place(scores: np.ndarray, right: np.ndarray) -> tuple[int, int, int]:
    """Items above the best right one, items of its score, and the right ones among these."""
    best = scores[right].max()
    tied = scores == best
    return int((scores > best).sum()), int(tied.sum()), int((tied & right).sum())


def _within(k: int, above: int, tied: int, good: int) -> float:
    """The probability that a right one of the ``tied`` is among the first ``k``."""
    drawn = min(k - above, tied)
    return 0.0 if drawn <= 0 else 1.0 - comb(tied - good, drawn) / comb(tied, drawn)


def _estimate(values: np.ndarray, clusters: Sequence[Hashable] | None, seed: int) -> Estimate:
    if np.isin(values, (0.0, 1.0)).all():
        return proportion(values, clusters, seed)
    return clustered_bootstrap(values, clusters, seed)


def _median_interval(
    ranks: np.ndarray, clusters: Sequence[Hashable] | None, seed: int, resamples: int = 2000
) -> tuple[float, float]:
    names = list(range(len(ranks))) if clusters is None else list(clusters)
    members: dict[Hashable, list[int]] = {}
    for place, name in enumerate(names):
        members.setdefault(name, []).append(place)
    groups = [ranks[places] for places in members.values()]
    draws = np.random.default_rng(seed).integers(0, len(groups), (resamples, len(groups)))
    medians = [np.median(np.concatenate([groups[index] for index in draw])) for draw in draws]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)

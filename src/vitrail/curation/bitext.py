"""Mining of translations: which sentence of one language says what a sentence of the other does.

The score of a pair is its cosine against those of its neighbours (Artetxe and Schwenk, arXiv 1811.01136, ratio):

    margin(x, y) = cos(x, y) / ( Σ_{z in NN_k(x)} cos(x, z) / 2k + Σ_{z in NN_k(y)} cos(y, z) / 2k )

with the k nearest sentences of the other language. It is large where x and y are near each other and to nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Mined:
    """A pair of sentences by number, with its score."""

    source: int
    target: int
    score: float


def cosines(
    x: Float[np.ndarray, "sources dim"], y: Float[np.ndarray, "targets dim"]
) -> Float[np.ndarray, "s t"]:
    """ValueError for a vector of zeros, or of values that are not finite."""
    found = []
    for name, vectors in (("source", x), ("target", y)):
        vectors = np.asarray(vectors, dtype=np.float64)
        sizes = np.linalg.norm(vectors, axis=1)
        if not np.isfinite(sizes).all() or (sizes == 0).any():
            bad = int(np.argmin(np.isfinite(sizes) & (sizes > 0)))
            raise ValueError(
                f"the vector of {name} {bad} is zero or not finite, and has no direction; leave it out"
            )
        found.append(vectors / sizes[:, None])
    return found[0] @ found[1].T


def margin_score(
    x: Float[np.ndarray, "sources dim"], y: Float[np.ndarray, "targets dim"], k: int = 4
) -> Float[np.ndarray, "sources targets"]:
    """The margin of every pair. ValueError for a ``k`` below 1 or above the number of sentences on a side."""
    return margins(cosines(x, y), k)


def margins(cosine: Float[np.ndarray, "sources targets"], k: int = 4) -> Float[np.ndarray, "sources targets"]:
    """:func:`margin_score` from cosines."""
    if not 1 <= k <= min(cosine.shape):
        raise ValueError(
            f"k is {k}, and there are {cosine.shape[0]} and {cosine.shape[1]} sentences; give 1 to the fewer"
        )
    forward = np.sort(cosine, axis=1)[:, -k:].sum(1) / (2 * k)
    backward = np.sort(cosine, axis=0)[-k:].sum(0) / (2 * k)
    under = forward[:, None] + backward[None]
    return cosine / np.where(under == 0, np.finfo(np.float64).tiny, under)


def mine(
    x: Float[np.ndarray, "sources dim"],
    y: Float[np.ndarray, "targets dim"],
    *,
    k: int = 4,
    threshold: float | None = None,
    one_to_one: bool = True,
) -> list[Mined]:
    """Pairs, best first: each sentence's best of the other side, in both directions; with ``one_to_one`` no sentence
    twice. ``threshold``: the least score.
    """
    scores = margin_score(x, y, k)
    wanted = {(row, int(scores[row].argmax())) for row in range(len(scores))}
    wanted |= {(int(scores[:, column].argmax()), column) for column in range(scores.shape[1])}
    ordered = sorted(wanted, key=lambda pair: (-scores[pair], pair))
    found: list[Mined] = []
    sources: set[int] = set()
    targets: set[int] = set()
    for source, target in ordered:
        score = float(scores[source, target])
        if threshold is not None and score < threshold:
            break
        if one_to_one and (source in sources or target in targets):
            continue
        sources.add(source)
        targets.add(target)
        found.append(Mined(source, target, score))
    return found


def f1(found: Sequence[Mined], gold: set[tuple[int, int]]) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` of mined pairs. ValueError without gold pairs."""
    if not gold:
        raise ValueError("there are no gold pairs to compare with")
    right = len({(one.source, one.target) for one in found} & gold)
    precision, recall = right / max(len(found), 1), right / len(gold)
    both = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": both}


def filter_corpus(scores: Sequence[float], top_n: int) -> list[int]:
    """The numbers of the ``top_n`` best pairs of a noisy corpus, best first; of equal ones the earlier.

    ValueError for more than there are, or for a score that is no number.
    """
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError(f"the score of pair {int(np.isnan(values).argmax())} is no number; leave it out")
    if not 1 <= top_n <= len(values):
        raise ValueError(f"top_n is {top_n} of {len(values)} pairs; give 1 to {len(values)}")
    return [int(one) for one in np.argsort(-values, kind="stable")[:top_n]]

"""How different the texts (or pictures) of a corpus are from each other.

**Vendi score** (Friedman and Dieng, arXiv 2210.02410): with unit embeddings x₁ … xₙ and K = X Xᵀ, the exponential of
the entropy of the eigenvalues of K / n: the number of different items that n items amount to, from 1 (all alike) to n
(all orthogonal). mOSCAR (2406.08707) takes it over sentence embeddings in batches of 65,536 and averages.
**Distinct n-grams** (Li et al., 1510.03055): different n-grams of words over all n-grams, for n = 1 … 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

BATCH = 65_536
"""Items compared with each other at once, as mOSCAR does."""


def vendi_score(embeddings: Float[np.ndarray, "items dim"], batch: int = BATCH) -> float:
    """The mean Vendi score of batches of ``batch`` items, in their order; of the last, what is left.

    Rows are scaled to length 1. Computed from the smaller of K and Xᵀ X, which have the same eigenvalues. ValueError
    for no items, a row that is zero, or what is not finite.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(
            f"embeddings have the shape {rows.shape}; give one row an item, and one item at least"
        )
    lengths = np.linalg.norm(rows, axis=1)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        place = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])
        raise ValueError(f"embedding {place} is zero or not finite; leave it out")
    rows = rows / lengths[:, None]
    return float(np.mean([_vendi(rows[start : start + batch]) for start in range(0, len(rows), batch)]))


def _vendi(rows: Float[np.ndarray, "items dim"]) -> float:
    gram = rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T
    values = np.linalg.eigvalsh(gram / len(rows))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def distinct_ngram_ratio(texts: Sequence[str], n: int = 1) -> float:
    """Different n-grams of words over all of them, within each text; 0 where no text has ``n`` words.

    ValueError for ``n`` below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}; give 1 or more")
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = text.split()
        for start in range(len(words) - n + 1):
            seen.add(tuple(words[start : start + n]))
            total += 1
    return len(seen) / total if total else 0.0

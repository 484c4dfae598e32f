"""Examples by likeness of pictures: RICES, retrieval-based in-context example selection.

Yang et al., "An Empirical Study of GPT-3 for Few-Shot Knowledge-Based VQA" (arXiv 2109.05014); named and used so by
Alayrac et al., "Flamingo" (arXiv 2204.14198), and by the Multimodal Textbook (arXiv 2501.00958). Of a pool of answered
questions the ``k`` whose pictures are nearest to the question's, by the cosine of a frozen picture encoder, stand in
front of it, the nearest one last, right before the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float

DIGITS = 5
"""Cosines are compared to so many digits: the last ones of an embedding depend on its batch."""
_BATCH = 32
_TINY = 1e-12


def nearest(
    query: Float[np.ndarray, "dim"], bank: Float[np.ndarray, "items dim"], k: int, without: Sequence[int] = ()
) -> list[int]:
    """The places of the ``k`` rows of ``bank`` with the highest cosine to ``query``, nearest first; ties by place.

    ``without``: places that are left out. ValueError for another width, for fewer rows than ``k``, and for vectors that
    are not finite. One without length is as far from all.
    """
    if bank.ndim != 2 or query.shape != bank.shape[1:]:
        raise ValueError(
            f"the question has {query.shape[-1]} dimensions and the pool {bank.shape[-1]}; use one encoder"
        )
    left = np.setdiff1d(np.arange(len(bank)), np.asarray(without, dtype=np.int64))
    if not 0 <= k <= len(left):
        raise ValueError(f"k is {k}, but the pool has {len(left)} others; ask for fewer")
    lengths = np.linalg.norm(bank[left], axis=1) * np.linalg.norm(query)
    if not np.isfinite(lengths).all():
        raise ValueError("an embedding is not finite; leave the picture out, or use another encoder")
    cosines = np.round(bank[left] @ query / np.maximum(lengths, _TINY), DIGITS)
    return [int(place) for place in left[np.argsort(-cosines, kind="stable")[:k]]]


def rices(
    query: Float[np.ndarray, "dim"], bank: Float[np.ndarray, "items dim"], k: int, without: Sequence[int] = ()
) -> list[int]:
    """The places of ``k`` examples in the order they are shown in, the nearest last. Errors as :func:`nearest`."""
    return nearest(query, bank, k, without)[::-1]


def embedded(
    pictures: Iterable[Any], embed: Callable[[Sequence[Any]], np.ndarray], batch: int = _BATCH
) -> Float[np.ndarray, "pictures dim"]:
    """Decoded pictures → their vectors, ``batch`` of them in memory at a time."""
    left, found = iter(pictures), []
    while some := list(islice(left, batch)):
        found.append(np.asarray(embed(some)))
    return np.concatenate(found) if found else np.zeros((0, 0))

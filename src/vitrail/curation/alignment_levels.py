"""How well pictures and texts match, and in which of N levels a pair falls.

Zhao et al., "AlignGPT" (arXiv 2405.14129), label every pretraining pair by the cosine of a CLIP's two embeddings, sort
the whole set and cut the ranking into N parts; level 0 is the least alike. The paper says both "rank" and "equally
spaced intervals", so equal widths of the score are the other reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int


def assign_alignment_levels(
    scores: Sequence[float] | Float[np.ndarray, "pairs"],
    n_levels: int = 8,
    by: Literal["rank", "width"] = "rank",
) -> Int[np.ndarray, "pairs"]:
    """A level from 0 to ``n_levels`` − 1 for each score, monotone in it.

    ``by="rank"``: levels hold equally many pairs, give or take one, and equal scores are ranked in their order.
    ``by="width"``: levels are equally wide parts of the range of scores. ValueError for fewer than two levels, fewer
    pairs than levels, and scores that are not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if n_levels < 2:
        raise ValueError(f"n_levels is {n_levels}; alignment needs 2 or more levels")
    if values.ndim != 1 or len(values) < n_levels:
        raise ValueError(
            f"{values.size} scores cannot fill {n_levels} levels; give one score a pair, or fewer levels"
        )
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"score {place} is {values[place]}; set pairs without a score aside first")
    if by == "rank":
        rank = np.empty(len(values), dtype=np.int64)
        rank[np.argsort(values, kind="stable")] = np.arange(len(values))
        return rank * n_levels // len(values)
    if by != "width":
        raise ValueError(f"by is {by!r}; use 'rank' or 'width'")
    low, high = values.min(), values.max()
    if low == high:
        raise ValueError(f"all scores are {low}: they have no width to cut; use by='rank'")
    return np.minimum((values - low) / (high - low) * n_levels, n_levels - 1).astype(np.int64)


def score_pairs(
    model: Any, processor: Any, images: Sequence[Any], texts: Sequence[str], *, batch_size: int = 32
) -> Float[np.ndarray, "pairs"]:
    """The cosine of each picture with its text, as a dual encoder sees them.

    Args:
        model: a CLIP, SigLIP, or whatever has ``get_image_features`` and ``get_text_features`` as these do.
        processor: its ``image_processor`` and ``tokenizer``.
        images: decoded pictures (Pillow).
        texts: as many; one that is too long for the model is cut, as CLIP itself cuts it.
        batch_size: pairs in one forward.

    ValueError for different numbers of pictures and texts.
    """
    from vitrail.models.experts.clip_scorer import ClipScorer

    return ClipScorer(model, processor, batch_size=batch_size).score_pairs(images, texts)

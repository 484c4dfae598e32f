"""Structural similarity of two grey pictures (SSIM; Wang et al. 2004, "Image Quality Assessment"), and of a sample.

The index of scikit-image with its defaults (a uniform window of 7 pixels, unbiased covariances, 255 grey levels), with
scipy's filter: one function does not pay for that package, which brings readers and plots of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

if TYPE_CHECKING:
    from PIL import Image as PILImage

WINDOW = 7
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def grey(picture: Any) -> Shaped[np.ndarray, "rows cols"]:
    """The grey levels of a Pillow picture, or of an array of rows × cols (× 3), as float64 from 0 to 255."""
    if isinstance(picture, np.ndarray):
        if picture.ndim == 2:
            return picture.astype(np.float64)
        from PIL import Image

        picture = Image.fromarray(picture)
    return np.asarray(picture.convert("L"), dtype=np.float64)


def ssim(first: Shaped[np.ndarray, "rows cols"], second: Shaped[np.ndarray, "rows cols"]) -> float:
    """The mean index, −1 to 1; 1 for equal pictures. ValueError for different sizes, or sides below 7 pixels."""
    if first.shape != second.shape:
        raise ValueError(f"the pictures are {first.shape} and {second.shape} pixels; resize one to the other")
    if min(first.shape) < WINDOW:
        raise ValueError(
            f"a picture of {first.shape} pixels is smaller than the window of {WINDOW}; take larger ones"
        )
    from scipy.ndimage import uniform_filter

    x, y = first.astype(np.float64), second.astype(np.float64)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    mx, my = uniform_filter(x, WINDOW), uniform_filter(y, WINDOW)
    vx = unbiased * (uniform_filter(x * x, WINDOW) - mx * mx)
    vy = unbiased * (uniform_filter(y * y, WINDOW) - my * my)
    vxy = unbiased * (uniform_filter(x * y, WINDOW) - mx * my)
    index = ((2 * mx * my + _C1) * (2 * vxy + _C2)) / ((mx * mx + my * my + _C1) * (vx + vy + _C2))
    pad = (WINDOW - 1) // 2
    return float(index[pad:-pad, pad:-pad].mean())


def in_sample_similarity(images: Sequence[PILImage.Image], encoder: Any) -> float:
    """InSI-SIM of one sample of L pictures (arXiv 2501.00958): the mean over its pairs of

        (CLIP(i, j) + SSIM(i, j)) / 2,   CLIP = (cosine + 1) / 2 of the pictures' embeddings.

    SSIM is of grey levels, the larger picture (the second of two equally large) resized to the other, so that order has
    no say. ``encoder``: ``embed_images`` gives unit vectors (:class:`~vitrail.models.experts.clip_scorer.ClipScorer`).
    ValueError for fewer than two pictures.
    """
    if len(images) < 2:
        raise ValueError(f"a sample of {len(images)} pictures has no pair; take samples of 2 or more")
    vectors = np.asarray(encoder.embed_images(images), dtype=np.float64)
    found = []
    for i, j in combinations(range(len(images)), 2):
        clip = (min(float(vectors[i] @ vectors[j]), 1.0) + 1) / 2
        found.append((clip + _ssim_of_sizes(images[i], images[j])) / 2)
    return float(np.mean(sorted(found)))


def _ssim_of_sizes(first: PILImage.Image, second: PILImage.Image) -> float:
    small, large = sorted((first, second), key=lambda one: (one.width * one.height, one.width))
    return ssim(grey(small), grey(large.resize(small.size) if large.size != small.size else large))


def mean_in_sample_similarity(
    samples: Sequence[Sequence[PILImage.Image]], encoder: Any, length: int
) -> float:
    """InSI-SIM_L: the mean over the samples of exactly ``length`` pictures. ValueError where there is none."""
    found = [in_sample_similarity(one, encoder) for one in samples if len(one) == length]
    if not found:
        raise ValueError(f"no sample has exactly {length} pictures; choose another length")
    return float(np.mean(found))

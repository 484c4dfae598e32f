"""Structural similarity, and how alike the pictures of a sample are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from vitrail.analysis.structural_similarity import (
    grey,
    in_sample_similarity,
    mean_in_sample_similarity,
    ssim,
)


class Encoder:
    """Mean colours, as unit vectors."""

    def embed_images(self, images):
        found = np.array([np.asarray(image).reshape(-1, 3).mean(0) + 1 for image in images])
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def picture(seed, size=(24, 20)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(pixels.astype(np.uint8))


def plain(x, y):
    """Windows one by one."""
    values = []
    for row, column in itertools.product(range(x.shape[0] - 6), range(x.shape[1] - 6)):
        a, b = (one[row : row + 7, column : column + 7].ravel() for one in (x, y))
        cov = np.cov(a, b)
        c1, c2 = 2.55**2, 7.65**2
        values.append(
            (2 * a.mean() * b.mean() + c1) * (2 * cov[0, 1] + c2)
            / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2))
        )  # fmt: skip
    return np.mean(values)


def test_the_index_is_that_of_windows_one_by_one():
    x, y = grey(picture(1)), grey(picture(2))
    y = 0.7 * x + 0.3 * y
    assert ssim(x, y) == pytest.approx(plain(x, y), abs=1e-9) and ssim(x, x) == pytest.approx(1.0)
    assert ssim(x, y) == ssim(y, x)
    with pytest.raises(ValueError, match="resize one to the other"):
        ssim(x, x[:10])
    with pytest.raises(ValueError, match="smaller than the window of 7"):
        ssim(x[:6], x[:6])


def test_how_alike_the_pictures_of_a_sample_are():
    one, two, three = picture(1), picture(2), picture(3, (40, 40))
    assert in_sample_similarity([one] * 4, Encoder()) == pytest.approx(1.0)
    orders = [in_sample_similarity(order, Encoder()) for order in itertools.permutations((one, two, three))]
    assert max(orders) - min(orders) < 1e-12
    pair = in_sample_similarity([one, two], Encoder())
    cosine = float(np.prod(Encoder().embed_images([one, two]), axis=0).sum())
    assert pair == pytest.approx(((cosine + 1) / 2 + ssim(grey(one), grey(two))) / 2)
    assert mean_in_sample_similarity([[one, two], [one, one], [one] * 3], Encoder(), 2) == pytest.approx(
        (pair + 1) / 2
    )
    with pytest.raises(ValueError, match="has no pair"):
        in_sample_similarity([one], Encoder())
    with pytest.raises(ValueError, match="no sample has exactly 5"):
        mean_in_sample_similarity([[one, two]], Encoder(), 5)

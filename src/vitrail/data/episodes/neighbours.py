"""Which classes are easily taken for each other: cosines between the mean features of their pictures.

Features are those of any encoder of pictures (a CLIP's), or, where none is given, thumbnails. The published neighbours
were ranked by a CLIP-like model; how is not said (arXiv 2308.07891).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vitrail.data.episodes.catalogue import Catalogue, iterate_pictures
from vitrail.data.thumbnails import thumbnail

Embed = Callable[[Sequence[Any]], np.ndarray]
"""Decoded pictures → their features ``(images, dim)``."""
EACH = 2
"""Pictures of a class that its features are the mean of."""
MOST = 20
"""Neighbours that a class has at most."""


def thumbnails(pictures: Sequence[Any]) -> Float[np.ndarray, "images dim"]:
    """Thumbnails as features."""
    return np.stack([thumbnail(one) for one in pictures])


def class_features(
    catalogue: Catalogue, embed: Embed = thumbnails, each: int = EACH, batch: int = 64
) -> Float[np.ndarray, "classes dim"]:
    """The mean feature of the first ``each`` pictures of every class."""
    places, pictures, found = [], [], []
    for place, picture in iterate_pictures(catalogue, each):
        places.append(place)
        pictures.append(picture.open(catalogue.root))
        if len(pictures) == batch:
            found.append(embed(pictures))
            pictures = []
    if pictures:
        found.append(embed(pictures))
    features = np.concatenate(found).astype(np.float64)
    sums = np.zeros((len(catalogue), features.shape[1]))
    np.add.at(sums, places, features)
    return sums / np.bincount(places, minlength=len(catalogue))[:, None]


def neighbour_index(
    features: Float[np.ndarray, "classes dim"], most: int = MOST
) -> Int[np.ndarray, "classes neighbours"]:
    """Of every class the ``most`` others of the highest cosine, nearest first; ties by number.

    ValueError for fewer than two classes, and for a feature without length.
    """
    if len(features) < 2:
        raise ValueError(f"there is {len(features)} class; neighbours need 2 at least")
    lengths = np.linalg.norm(features, axis=1)
    if not (lengths > 0).all():
        raise ValueError(f"class {int(np.argmin(lengths))} has features of length 0; give another encoder")
    unit = features / lengths[:, None]
    cosines = np.round(unit @ unit.T, 9)
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")
    return order[:, : min(most, len(features) - 1)]

"""Fewer tokens from a picture's grid, in front of a connector: averaged cells, or blocks side by side.

Averaging to a fixed number of cells is ``AdaptiveAvgPool2d``. Blocks of s × s neighbours become one token of s² times
the width, row by row and row by row inside a block: the *hidden stride* of Ovis (arXiv 2405.20797), the pixel shuffle
of Idefics3, the patch merger of Qwen2-VL.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitrail.models.features import Features, grid_coords


def pooled(features: Features, side: int) -> Features:
    """Each picture's grid averaged to ``side × side`` cells. ValueError for an item that is no full grid."""
    if (shape := same_grid(features)) is not None:  # one call for all pictures
        grid = _as_grids(features, shape).permute(0, 3, 1, 2)
        return _same_items(features, F.adaptive_avg_pool2d(grid, side).flatten(2).mT, (side, side))
    grids = [F.adaptive_avg_pool2d(grid.permute(2, 0, 1), side) for grid in features.grids()]
    cells = torch.cat([grid.flatten(1).mT for grid in grids])
    return _items(features, cells, [(side, side)] * len(features.lengths))


def grouped(features: Features, stride: int) -> Features:
    """Each block of ``stride × stride`` tokens side by side as one, ``stride²`` times as wide.

    ValueError for a picture whose rows or columns are not a multiple of ``stride``.
    """
    if stride == 1:
        return features
    if (shape := same_grid(features)) is not None:
        blocks_shape = grouped_shape(*shape, stride)
        return _same_items(features, _blocks(_as_grids(features, shape), stride), blocks_shape)
    grids = [grid[None] for grid in features.grids()]
    shapes = [(grid.shape[1], grid.shape[2]) for grid in grids]
    out = [grouped_shape(rows, cols, stride) for rows, cols in shapes]
    width = features.tokens.shape[-1] * stride**2
    blocks = [_blocks(grid, stride).reshape(-1, width) for grid in grids]
    return _items(features, torch.cat(blocks) if blocks else features.tokens.new_zeros(0, width), out)


def grouped_shape(rows: int, cols: int, stride: int) -> tuple[int, int]:
    """Rows and columns of blocks. ValueError if ``rows × cols`` tokens are not whole blocks."""
    if rows % stride or cols % stride:
        raise ValueError(
            f"connector.stride is {stride}, but a grid of {rows} × {cols} tokens is not made of whole blocks; "
            "use a stride that divides both sides, or connector.pool"
        )
    return rows // stride, cols // stride


def same_grid(features: Features) -> tuple[int, int] | None:
    """Rows and columns of every picture, where all have the same full grid; None otherwise."""
    if features.shape is not None:  # known without a look at values, as an export needs it
        return features.shape
    if not len(features.lengths):
        return 0, 0
    rows, cols = int(features.coords[:, 1].max()) + 1, int(features.coords[:, 2].max()) + 1
    return (rows, cols) if bool((features.lengths == rows * cols).all()) else None


def _blocks(grids: Float[Tensor, "items rows cols dim"], stride: int) -> Float[Tensor, "items count wide"]:
    items, rows, cols, dim = grids.shape
    apart = grids.reshape(items, rows // stride, stride, cols // stride, stride, dim)
    count = (rows // stride) * (cols // stride)
    return apart.permute(0, 1, 3, 2, 4, 5).reshape(items, count, stride**2 * dim)


def _as_grids(features: Features, shape: tuple[int, int]) -> Float[Tensor, "items rows cols dim"]:
    return features.tokens.reshape(features.lengths.shape[0], *shape, features.tokens.shape[-1])


def _same_items(
    features: Features, tokens: Float[Tensor, "items count dim"], shape: tuple[int, int]
) -> Features:
    return replace(Features.from_grid(tokens, *shape, pooled=features.pooled), kind=features.kind)


def _items(features: Features, tokens: Tensor, shapes: list[tuple[int, int]]) -> Features:
    device = tokens.device
    counts = torch.tensor([rows * cols for rows, cols in shapes], dtype=torch.long, device=device)
    runs = {shape: grid_coords(*shape, device=device) for shape in set(shapes)}
    coords = torch.cat([runs[shape] for shape in shapes]) if shapes else features.coords.new_zeros(0, 3)
    return Features(tokens, counts, coords, kind=features.kind, pooled=features.pooled)

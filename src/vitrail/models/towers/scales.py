"""One encoder over several sizes of a picture: tiles of the encoder's own size, stitched, pooled and joined by channel.

Shi et al., "When Do We Not Need Larger Vision Models?" (arXiv 2403.13043), S² (scaling on scales). With an encoder
``f`` of native size P, a square picture x and sizes s₁ … s_S::

    F_i = merge(f(split(resize(x, s_i), n_i)), n_i)       n_i = ⌈s_i / P⌉ tiles a side
    F   = [area(F_1, s_r); …; area(F_S, s_r)]             joined by channels, at the resolution of map r

Resizing is bicubic without antialiasing, as in the reference; that is right where pictures are enlarged, and folds fine
detail into coarse where a larger original is made smaller: ``antialias`` is a setting. A picture that has the size
already is not touched, so that scale 1 alone is the encoder itself, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Encode = Callable[[Tensor], Tensor]
"""Pictures ``(images, 3, height, width)`` → tokens ``(images, count, dim)`` or a map ``(images, dim, rows, cols)``."""


def split_tiles(x: Float[Tensor, "images dim height width"], n: int) -> Float[Tensor, "tiles dim _ _"]:
    """Cut into ``n`` × ``n`` tiles, stacked in the batch: tile row, tile column, picture (the picture runs fastest).

    ValueError if a side cannot be divided by ``n``.
    """
    images, dim, height, width = x.shape
    if n < 1 or height % n or width % n:
        raise ValueError(f"a picture of {width} × {height} cannot be cut into {n} × {n} equal tiles")
    cut = x.reshape(images, dim, n, height // n, n, width // n)
    return cut.permute(2, 4, 0, 1, 3, 5).reshape(n * n * images, dim, height // n, width // n)


def merge_tiles(tiles: Float[Tensor, "tiles dim _ _"], n: int) -> Float[Tensor, "images dim height width"]:
    """The inverse of :func:`split_tiles`. ValueError if the batch holds no whole number of pictures."""
    count, dim, height, width = tiles.shape
    if n < 1 or count % (n * n):
        raise ValueError(f"{count} tiles are no whole number of pictures of {n} × {n} tiles")
    grid = tiles.reshape(n, n, count // (n * n), dim, height, width)
    return grid.permute(2, 3, 0, 4, 1, 5).reshape(count // (n * n), dim, n * height, n * width)


def tiles_a_side(sizes: Sequence[int], max_split_size: int) -> list[int]:
    """Into how many tiles each size is cut along a side.

    ValueError for a size that is no positive number, or cannot be divided by its number of tiles.
    """
    counts = []
    for size in sizes:
        if size < 1:
            raise ValueError(f"sizes holds {size}; a picture has at least one pixel a side")
        n = math.ceil(size / max_split_size)
        if size % n:
            raise ValueError(
                f"sizes holds {size}, which is cut into {n} tiles a side (at most {max_split_size} pixels each) but "
                f"cannot be divided by {n}; use {size // n * n} or {(size // n + 1) * n}"
            )
        counts.append(n)
    return counts


def relative_flops(sizes: Sequence[int], native: int) -> float:
    """Operations of the encoder over all sizes, relative to one pass at its ``native`` size: 1, 5, 14 for 1, 1 to 2
    and 1 to 3 times.

    Tiles cost by their pixels, which is exact for convolutions; attention among the tokens of a smaller tile costs
    less.
    """
    counts = tiles_a_side(sizes, native)
    return sum((n * n) * (size / n / native) ** 2 for size, n in zip(sizes, counts, strict=True))


def sizes_of(scales: Sequence[float | int], side: int) -> list[int]:
    """The sizes ``int(side · scale)`` in pixels. ValueError for no scale, or one that is not positive."""
    if not scales:
        raise ValueError("scales is empty; give at least one, such as 1")
    if wrong := [scale for scale in scales if not scale > 0]:
        raise ValueError(f"scales holds {wrong[0]}; a scale is larger than 0")
    return [int(side * scale) for scale in scales]


def resized(pixels: Float[Tensor, "images 3 height height"], size: int, antialias: bool = False) -> Tensor:
    """Pictures at ``size`` × ``size``: bicubic, computed in float32, in their own type."""
    if pixels.shape[-1] == size:
        return pixels
    larger = F.interpolate(
        pixels.float(), size=(size, size), mode="bicubic", align_corners=False, antialias=antialias
    )
    return larger.to(pixels.dtype)


def pooled_to(maps: Float[Tensor, "images dim rows cols"], side: int) -> Tensor:
    """Maps at ``side`` × ``side`` by area (an adaptive average where they shrink), computed in float32."""
    if maps.shape[-2:] == (side, side):
        return maps
    return F.interpolate(maps.float(), size=(side, side), mode="area").to(maps.dtype)


def multiscale_forward(
    encode: Encode,
    pixel_values: Float[Tensor, "images 3 height width"],
    scales: Sequence[float | int] | None = None,
    sizes: Sequence[int] | None = None,
    max_split_size: int | None = None,
    resize_to: int = 0,
    num_prefix_tokens: int = 0,
    layout: Literal["bnc", "bchw"] = "bnc",
    chunked: bool = False,
    antialias: bool = False,
) -> Tensor:
    """Features of pictures at several sizes, joined by channels.

    Args:
        encode: pictures → tokens (``layout="bnc"``) or a map (``"bchw"``).
        pixel_values: square pictures.
        scales: sizes as multiples of the pictures' own; or
        sizes: in pixels. Exactly one of both.
        max_split_size: the largest tile, usually the encoder's native size (default: the pictures' own).
        resize_to: index of the size whose resolution the result has.
        num_prefix_tokens: tokens in front of the grid (a class token, registers). Each is averaged over the tiles of
            its size.
        chunked: encode tile by tile, as many pictures at a time as came in: the memory of one pass.
        antialias: of the resizing.

    Returns ``(images, prefix + count, S · dim)``, or ``(images, S · dim, rows, cols)`` for maps.

    ValueError, naming the field, for pictures that are not square, sizes that cannot be cut, tokens that are no square
    grid, an encoder that does not return a tensor of the stated layout.
    """
    images, _, height, width = pixel_values.shape
    if height != width:
        raise ValueError(
            f"pixel_values are {width} × {height}; S² takes square pictures: resize or pad them first"
        )
    if (scales is None) == (sizes is None):
        raise ValueError("give exactly one of scales and sizes")
    if layout == "bchw" and num_prefix_tokens:
        raise ValueError(
            f"num_prefix_tokens is {num_prefix_tokens}, but a map (layout 'bchw') has none; set it to 0"
        )
    wanted = sizes_of(scales, height) if scales is not None else [int(size) for size in sizes or ()]
    if not -len(wanted) <= resize_to < len(wanted):
        raise ValueError(f"resize_to is {resize_to}, but there are {len(wanted)} sizes, counted from 0")
    counts = tiles_a_side(wanted, max_split_size or height)
    maps, prefixes = [], []
    for size, n in zip(wanted, counts, strict=True):
        tiles = split_tiles(resized(pixel_values, size, antialias), n)
        parts = tiles.split(images) if chunked and n > 1 else (tiles,)
        encoded = torch.cat([_checked(encode(part), layout) for part in parts])
        prefix, grid = _as_map(encoded, num_prefix_tokens) if layout == "bnc" else (None, encoded)
        maps.append(merge_tiles(grid, n))
        if prefix is not None:
            prefixes.append(prefix.reshape(n * n, images, *prefix.shape[1:]).mean(0))
    side = maps[resize_to].shape[-1]
    joined = torch.cat([pooled_to(one, side) for one in maps], dim=1)
    if layout == "bchw":
        return joined
    tokens = joined.flatten(2).mT
    return torch.cat([torch.cat(prefixes, dim=-1), tokens], dim=1) if prefixes else tokens


def _checked(encoded: Any, layout: str) -> Tensor:
    axes = 3 if layout == "bnc" else 4
    if not isinstance(encoded, Tensor) or encoded.ndim != axes:
        found = f"{encoded.ndim} axes" if isinstance(encoded, Tensor) else type(encoded).__name__
        raise ValueError(
            f"encode returned {found}, where layout {layout!r} asks for one tensor of {axes} axes; wrap it in a "
            "function that picks the features"
        )
    return encoded


def _as_map(tokens: Tensor, num_prefix_tokens: int) -> tuple[Tensor | None, Tensor]:
    """Prefix tokens apart (None where there are none), the others as a map."""
    count = tokens.shape[1] - num_prefix_tokens
    side = math.isqrt(max(count, 0))
    if count < 1 or side * side != count:
        raise ValueError(
            f"encode returned {tokens.shape[1]} tokens, {num_prefix_tokens} of them in front of the grid "
            f"(num_prefix_tokens); the other {count} are no square"
        )
    grid = tokens[:, num_prefix_tokens:].mT.reshape(tokens.shape[0], -1, side, side)
    return (tokens[:, :num_prefix_tokens] if num_prefix_tokens else None), grid


def enlarged(image_processor: Any, factor: float | int) -> Any:
    """An image processor of transformers whose pictures are ``factor`` times as large; the given one stays.

    ValueError for one without a fixed size, or that cuts pictures into tiles itself.
    """
    if factor == 1:
        return image_processor
    own = {name: value for name, value in image_processor.to_dict().items() if name != "image_processor_type"}
    if not own.get("size") or {"min_pixels", "max_pixels", "longest_edge"} & set(own["size"]):
        raise ValueError(
            f"{type(image_processor).__name__} has no fixed size (size: {own.get('size')}), which several scales of a "
            "picture are multiples of"
        )
    if own.get("image_grid_pinpoints") or own.get("crop_to_patches"):
        raise ValueError(
            f"{type(image_processor).__name__} cuts pictures into tiles by their size, and would cut larger ones "
            "otherwise; let them be enlarged inside (picture: native)"
        )
    for name in ("size", "crop_size"):
        if own.get(name):
            own[name] = {key: round(value * factor) for key, value in dict(own[name]).items() if value}
    return type(image_processor)(**own)

"""S²: any tower over several sizes of a picture, with as many tokens as over one.

Shi et al., "When Do We Not Need Larger Vision Models?" (arXiv 2403.13043); the equation is in
:mod:`vitrail.models.towers.scales`. Tokens become ``S`` times as wide and nothing is learnt: in LLaVA's place only the
connector's first layer grows. Pictures are read at the largest size, so that what the sizes add is in the original, as
the paper does where a larger original is at hand; ``picture: native`` enlarges the picture of the base's own size
inside instead, which adds resolution to the tokens but nothing to the picture. A pooled vector of the base is treated
as a class token is: averaged over the tiles of a scale, joined by channels.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from vitrail import registry
from vitrail.models.features import Features
from vitrail.models.towers.scales import enlarged, multiscale_forward, relative_flops, sizes_of, tiles_a_side
from vitrail.models.towers.tower import ComponentConfig, Tower
from vitrail.settings.component import filled, require_known
from vitrail.settings.faults import inner_error


class ScalesConfig(ComponentConfig):
    """What a tower and a surgery share.

    ``scales``: sizes as multiples of the base's own; ``picture``: the size at which pictures are read, the ``largest``
    of these or the base's ``native`` one; ``chunked``: tile by tile, for the memory of one pass; ``antialias``: where a
    picture is made smaller (the published method does not).
    """

    scales: tuple[float, ...] = Field(default=(1.0, 2.0), min_length=1)
    picture: Literal["largest", "native"] = "largest"
    chunked: bool = False
    antialias: bool = False

    @field_validator("scales")
    @classmethod
    def _positive(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        for index, scale in enumerate(scales):
            if not scale > 0:
                raise inner_error((index,), f"is {scale:g}; a scale is larger than 0")
        return scales

    @model_validator(mode="after")
    def _antialias_matters(self) -> ScalesConfig:
        read = max(self.scales) if self.picture == "largest" else 1
        if self.antialias and min(self.scales) >= read:
            raise ValueError("antialias has no effect: no scale is smaller than the picture that is read")
        return self


class S2Tower(Tower):
    """A base tower over several sizes: ``(images, 3, side, side)`` → the base's grid, ``S`` times as wide."""

    class Config(ScalesConfig):
        """See :class:`ScalesConfig`. ``base``: the tower, ``{name: …, **settings}``; ``resize_to``: index of the scale
        whose grid the tokens have (0, the first).
        """

        base: dict[str, Any]
        resize_to: int = Field(default=0, ge=0)

        @field_validator("base", mode="before")
        @classmethod
        def _known(cls, base: Any) -> Any:
            base = {"name": base} if isinstance(base, str) else base
            if not isinstance(base, dict) or not isinstance(base.get("name"), str):
                raise ValueError("name the tower: {name: efficientnet_lite}")
            given = {key: value for key, value in base.items() if key != "name"}
            require_known("tower", base["name"])
            if base["name"] == "s2":
                raise ValueError("s2 is its own base; name the tower inside, and give all scales once")
            filled("tower", base["name"], given)
            return base

        @model_validator(mode="after")
        def _in_range(self) -> S2Tower.Config:
            if self.resize_to >= len(self.scales):
                raise ValueError(
                    f"resize_to is {self.resize_to}, but there are {len(self.scales)} scales, counted from 0"
                )
            return self

    def __init__(self, config: Config, base: Tower | None = None) -> None:
        super().__init__()
        self.config = config
        if base is None:
            kind = registry.get("tower", config.base["name"])
            base = kind(kind.Config(**{key: value for key, value in config.base.items() if key != "name"}))
        self.base: Tower = base
        self.native = native_side(base, config.base["name"])
        self.sizes = sizes_of(config.scales, self.native)
        self.tiles = tiles_a_side(self.sizes, self.native)
        self.width = len(self.sizes) * base.width
        self.image_size = max(self.sizes) if config.picture == "largest" else self.native

    @classmethod
    def around(cls, base: Tower, name: str, **settings: Any) -> S2Tower:
        """A built tower of the registered ``name``, with its weights; ``settings`` as in :class:`Config`."""
        return cls(cls.Config(base={"name": name, **base.settings()}, **settings), base=base)

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        base: dict[str, Any] | str = "huggingface",
        scales: tuple[float | int, ...] = (1, 2),
        resize_to: int = 0,
        picture: Literal["largest", "native"] = "largest",
        chunked: bool = False,
        antialias: bool = False,
    ) -> S2Tower:
        """The base tower with pretrained weights from a folder or hub name; ``base`` holds its further settings."""
        given = {"name": base} if isinstance(base, str) else dict(base)
        kind = registry.get("tower", name := given.pop("name"))
        if not hasattr(kind, "from_pretrained"):
            raise ValueError(
                f"tower.base {name!r} does not read pretrained weights; use the surgery s2 on a model that has them"
            )
        built = kind.from_pretrained(path, **given)
        return cls.around(
            built,
            name,
            scales=tuple(scales),
            resize_to=resize_to,
            picture=picture,
            chunked=chunked,
            antialias=antialias,
        )

    @property
    def relative_flops(self) -> float:
        """Operations relative to the base alone."""
        return relative_flops(self.sizes, self.native)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """The grid of the base at the scale ``resize_to``; the base's own for scale 1."""
        rows, cols = self.base.grid(width, height)
        size, n = self.sizes[self.config.resize_to], self.tiles[self.config.resize_to]
        if size == self.native:
            return rows, cols
        if size % self.native:
            raise ValueError(
                f"scales[{self.config.resize_to}] makes pictures of {size} pixels; the grid is known for multiples of "
                f"the base's {self.native} alone: set resize_to to such a scale"
            )
        return rows * n, cols * n

    def image_processor(self) -> Any:
        """The base's, at the size that pictures are read at."""
        return enlarged(self.base.image_processor(), self.image_size / self.native)

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Features:
        """Features of pictures of any square size; ``pooled`` where the base has it, ``S`` times as wide."""
        pooled: list[Tensor] = []
        tokens = multiscale_forward(
            partial(self._encode, pooled),
            pixel_values,
            sizes=self.sizes,
            max_split_size=self.native,
            resize_to=self.config.resize_to,
            chunked=self.config.chunked,
            antialias=self.config.antialias,
        )
        side = math.isqrt(tokens.shape[1])
        return Features.from_grid(tokens, side, side, pooled=self._pooled(pooled, pixel_values))

    def _encode(self, pooled: list[Tensor], tiles: Tensor) -> Tensor:
        features = self.base(tiles)
        if features.pooled is not None:
            pooled.append(features.pooled)
        return features.tokens.reshape(tiles.shape[0], -1, self.base.width)

    def _pooled(self, pooled: list[Tensor], pixel_values: Tensor) -> Tensor | None:
        if not pooled:
            return None
        images = pixel_values.shape[0]  # not len(): an export keeps this one open
        by_scale = torch.cat(pooled).split([n * n * images for n in self.tiles])
        means = [one.reshape(n * n, images, -1).mean(0) for one, n in zip(by_scale, self.tiles, strict=True)]
        return torch.cat(means, dim=-1)


def native_side(base: Tower, name: str) -> int:
    """The side in pixels of the pictures that a tower takes. ValueError for one without a square size and grid."""
    side = getattr(base, "image_size", None) or getattr(base.config, "image_size", None)
    rows, cols = base.grid(0, 0) if isinstance(side, int) else (0, 1)
    if not isinstance(side, int) or rows != cols:
        raise ValueError(
            f"the tower {name!r} has no square native size (image_size: {side}), which S² cuts larger pictures into"
        )
    return side

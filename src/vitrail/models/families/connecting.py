"""How the tower's tokens of a family reach its connector, so that another one can stand in its place.

A row of this table beside :class:`~vitrail.models.families.family.Family` for every multimodal family; a family of
somebody else's is told with :func:`register_entrance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vitrail.models.families.family import side_of


@dataclass(frozen=True)
class Entrance:
    """What a family hands to its connector, and what it does with the result.

    ``width``: of the tokens, from the configuration. ``scale``: how many of them lie along one side of a visual token
    of the family's own image plan (2 where its connector merges 2 × 2). ``native``: pictures of any grid come as one
    flat run, block by block (Qwen-VL); otherwise tokens are ``(items, count, width)`` of one square grid.
    ``keeps_grid``: half a sentence that says why the number of tokens cannot change; empty where it can. ``refused``:
    half a sentence that says why no other connector can stand there.
    """

    width: Callable[[Any], int] = lambda config: int(config.vision_config.hidden_size)
    scale: Callable[[Any], int] = lambda config: 1
    native: bool = False
    keeps_grid: str = ""
    refused: str = ""


def _llava_width(config: Any) -> int:
    layer = config.vision_feature_layer
    count = len(layer) if isinstance(layer, (list, tuple)) else 1
    return int(config.vision_config.hidden_size) * count


def _shuffled_width(config: Any) -> int:
    # Pixel shuffle comes in front of InternVL's connector.
    return int(config.vision_config.hidden_size) * round(1 / config.downsample_ratio) ** 2


def _merged(config: Any) -> int:
    return int(config.vision_config.spatial_merge_size)


def _qwen2_width(config: Any) -> int:
    return int(config.vision_config.embed_dim)


def _gemma_scale(config: Any) -> int:
    vision = config.vision_config
    return (
        side_of(vision.image_size, "image_size")
        // vision.patch_size
        // math.isqrt(config.mm_tokens_per_image)
    )


_NEWLINES = "its tiles are cut to the picture's shape and joined by newlines behind the connector, on the tower's grid"

_ENTRANCES: dict[str, Entrance] = {
    "llava": Entrance(_llava_width),
    "llava_next": Entrance(_llava_width, keeps_grid=_NEWLINES),
    "llava_onevision": Entrance(_llava_width, keeps_grid=_NEWLINES),
    "qwen2_vl": Entrance(_qwen2_width, _merged, native=True),
    "qwen2_5_vl": Entrance(scale=_merged, native=True),
    "qwen3_vl": Entrance(
        refused="deepstack adds features of earlier tower layers to the same visual tokens inside the decoder, through "
        "mergers of their own, which another connector does not have"
    ),
    "idefics3": Entrance(scale=lambda config: int(config.scale_factor)),
    "smolvlm": Entrance(scale=lambda config: int(config.scale_factor)),
    "internvl": Entrance(_shuffled_width),
    "paligemma": Entrance(),
    "gemma3": Entrance(scale=_gemma_scale),
    "ovis2": Entrance(
        refused="its head lies in the tower and its table also holds the indicators between tiles; it is Ovis already"
    ),
}


def register_entrance(model_type: str, entrance: Entrance) -> None:
    """Tell how the tokens of a family reach its connector. ValueError for a family that is told already."""
    if _ENTRANCES.get(model_type, entrance) != entrance:
        raise ValueError(
            f"the entrance of {model_type!r} is told already; give your family another model_type"
        )
    _ENTRANCES[model_type] = entrance


def entrance_of(config: Any) -> Entrance:
    """The entrance of a configuration's family. ValueError where it is not known, or where there is none."""
    model_type = str(config.model_type)
    entrance = _ENTRANCES.get(model_type)
    if entrance is None:
        raise ValueError(
            f"it is not known how the tower's tokens reach the connector of {model_type!r}; tell it with "
            "vitrail.models.families.connecting.register_entrance"
        )
    if entrance.refused:
        raise ValueError(f"no other connector can stand in {model_type!r}: {entrance.refused}")
    return entrance

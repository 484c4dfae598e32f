"""LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vitrail.data.image_plans.any_resolution import AnyResolution
from vitrail.data.image_plans.fixed import Fixed
from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.families.family import Family, PixelRules, require_same, side_of, square_side

VICUNA = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{{ ' ' }}"
    "{% elif message['role'] == 'user' %}{{ 'USER: ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ ' ' }}{% else %}{{ 'ASSISTANT: ' }}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""The conversation format of LLaVA-1.5 (Vicuna v1), for folders without a chat template."""

_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}


def _grid_and_extra(config: Any) -> tuple[int, int]:
    """Tokens along a tile's side, and tokens without a place that come with them."""
    vision = config.vision_config
    grid = side_of(vision.image_size, "vision_config.image_size") // vision.patch_size
    if vision.model_type not in _CLASS_TOKENS:
        known = ", ".join(sorted(_CLASS_TOKENS))
        raise ValueError(
            f"a LLaVA with the vision tower {vision.model_type!r} is not known (known: {known}); register a family "
            "that says how many tokens it gives (see vitrail.models.families.family)"
        )
    extra = _CLASS_TOKENS[vision.model_type]
    if getattr(config, "vision_feature_select_strategy", "full") == "default":
        if not extra:
            raise ValueError(
                "vision_feature_select_strategy is 'default', which drops the first token, but the vision tower "
                f"{vision.model_type!r} has no class token; use 'full'"
            )
        extra = 0
    return grid, extra


def _fixed(processor: Any, config: Any) -> ImagePlanner:
    grid, extra = _grid_and_extra(config)
    images = processor.image_processor
    cropped = bool(getattr(images, "do_center_crop", False))
    side = square_side(images.crop_size if cropped else images.size, config)
    shortest = dict(images.size).get("shortest_edge") if cropped else None
    return Fixed(grid, grid, (side, side), shortest, extra)


def _any_resolution(processor: Any, config: Any) -> AnyResolution:
    grid, extra = _grid_and_extra(config)
    images = processor.image_processor
    cropped = bool(getattr(images, "crop_size", None)) and bool(getattr(images, "do_center_crop", False))
    tile = square_side(images.crop_size if cropped else images.size, config)
    pinpoints = tuple((int(high), int(wide)) for high, wide in config.image_grid_pinpoints)
    require_same("image_grid_pinpoints", tuple(map(tuple, images.image_grid_pinpoints)), pinpoints)
    return AnyResolution(pinpoints, tile, grid, extra=extra)


def _next(processor: Any, config: Any) -> ImagePlanner:
    planner = _any_resolution(processor, config)
    if planner.extra:
        raise ValueError(
            "vision_feature_select_strategy 'full' keeps class tokens, which LLaVA-NeXT cannot tile"
        )
    return planner


def _onevision(processor: Any, config: Any) -> ImagePlanner:
    planner = _any_resolution(processor, config)
    limit = int(str(getattr(config, "vision_aspect_ratio", "anyres_max_9")).removeprefix("anyres_max_"))
    return AnyResolution(
        planner.pinpoints, planner.tile, planner.grid, max_tiles=limit, alone=True, extra=planner.extra
    )


LLAVA = Family(
    model_type="llava",
    about="LLaVA-1.5",
    tower="model.vision_tower",
    blocks="model.vision_tower.encoder.layers",
    connector=("model.multi_modal_projector",),
    planner=_fixed,
    chat_template=VICUNA,
    image_processor="clip.CLIPImageProcessorPil",
)
LLAVA_NEXT = replace(
    LLAVA,
    model_type="llava_next",
    about="LLaVA-NeXT (1.6)",
    connector=("model.multi_modal_projector", "model.image_newline"),
    planner=_next,
    pixels=PixelRules(("pixel_values", "image_sizes")),
    image_processor="llava_next.LlavaNextImageProcessorPil",
)
LLAVA_ONEVISION = replace(
    LLAVA_NEXT,
    model_type="llava_onevision",
    about="LLaVA-OneVision",
    planner=_onevision,
    chat_template=None,
    pixels=PixelRules(("pixel_values", "image_sizes", "batch_num_images"), by_record=True),
    image_processor="llava_onevision.LlavaOnevisionImageProcessorPil",
)

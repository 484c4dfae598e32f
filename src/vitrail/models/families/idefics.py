"""Idefics3 and SmolVLM: pictures cut into tiles with row and column markers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.data.image_plans.split_tiles import SplitTiles
from vitrail.models.families.family import Family, PixelRules, square_side


def _split(processor: Any, config: Any) -> ImagePlanner:
    images, vision = processor.image_processor, config.vision_config
    tile = square_side(images.max_image_size, config, "max_image_size")
    grid = tile // vision.patch_size // config.scale_factor
    size = dict(images.size)
    if images.do_resize and not size.get("longest_edge"):
        raise ValueError(f"the image processor's size is {size}; this family needs longest_edge")
    return SplitTiles(
        longest_edge=int(size.get("longest_edge") or 0),
        tile=tile,
        grid=grid,
        split=bool(images.do_image_splitting),
        resize=bool(images.do_resize),
    )


def _image_token(processor: Any, config: Any) -> tuple[str, ...]:
    return ("<image>",)


IDEFICS3 = Family(
    model_type="idefics3",
    about="Idefics3",
    tower="model.vision_model",
    blocks="model.vision_model.encoder.layers",
    connector=("model.connector",),
    planner=_split,
    stand_ins=_image_token,
    pixels=PixelRules(("pixel_values", "pixel_attention_mask"), by_record=True),
    image_processor="idefics3.Idefics3ImageProcessorPil",
)
SMOLVLM = replace(
    IDEFICS3,
    model_type="smolvlm",
    about="SmolVLM and SmolVLM2",
    image_processor="smolvlm.SmolVLMImageProcessorPil",
)

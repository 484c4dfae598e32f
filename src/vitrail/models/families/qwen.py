"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: native resolution, positions on three axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vitrail.data.image_plans.native import NativeResolution
from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.families.family import Ability, Family, PixelRules, modality_types, require_same


def _native(processor: Any, config: Any) -> ImagePlanner:
    images, vision = processor.image_processor, config.vision_config
    require_same("patch_size", images.patch_size, vision.patch_size)
    require_same("merge_size", images.merge_size, vision.spatial_merge_size)
    if not getattr(images, "do_resize", True):
        raise ValueError(
            "the image processor's do_resize is False; sides must become multiples of whole tokens"
        )
    size = dict(images.size)
    return NativeResolution(
        images.patch_size, images.merge_size, int(size["shortest_edge"]), int(size["longest_edge"])
    )


QWEN2_VL = Family(
    model_type="qwen2_vl",
    about="Qwen2-VL",
    tower="model.visual",
    blocks="model.visual.blocks",
    connector=("model.visual.merger",),
    positions="three axes",
    planner=_native,
    pixels=PixelRules(("pixel_values", "image_grid_thw")),
    further=modality_types,
    image_processor="qwen2_vl.Qwen2VLImageProcessorPil",
    custom_token_count=Ability(
        reason="without image_grid_thw, so give position_ids (3, batch, tokens) of your own"
    ),
    pack=Ability(reason="with position_ids (4, 1, tokens): text, time, height, width of each record alone"),
)
QWEN2_5_VL = replace(QWEN2_VL, model_type="qwen2_5_vl", about="Qwen2.5-VL")
QWEN3_VL = replace(
    QWEN2_VL,
    model_type="qwen3_vl",
    about="Qwen3-VL",
    connector=("model.visual.merger", "model.visual.deepstack_merger_list"),
    custom_token_count=Ability(reason="with deepstack_features of the same count for each deepstack layer"),
    prune=Ability(reason="behind the layers that deepstack features are added to"),
)

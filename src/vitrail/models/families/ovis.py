"""Ovis2 in transformers' own format: visual tokens as mixtures over a visual vocabulary, indicators between tiles."""

from __future__ import annotations

from typing import Any

from vitrail.data.image_plans.dynamic_tiles import DynamicTiles
from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.families.family import Ability, Family, square_side


def _tiles(processor: Any, config: Any) -> ImagePlanner:
    images, vision = processor.image_processor, config.vision_config
    tile = square_side(images.size, config)
    return DynamicTiles(
        tile=tile,
        grid=-(-(tile // vision.patch_size) // vision.hidden_stride),
        crop=bool(images.crop_to_patches),
        min_tiles=images.min_patches,
        max_tiles=images.max_patches,
        choice="covering" if images.use_covering_area_grid else "aspect",
        thumbnail="first",
        begin="<IMG_START>",
        after_thumbnail="<IMG_GRID>",
        between_cols="<IMG_COL>",
        between_rows="<IMG_ROW>",
        end="<IMG_END>",
    )


def _image_token(processor: Any, config: Any) -> tuple[str, ...]:
    return ("<image>",)


OVIS2 = Family(
    model_type="ovis2",
    about="Ovis2, in transformers' own format",
    tower="model.vision_tower",
    blocks="model.vision_tower.transformer.encoder.layers",
    connector=(
        "model.vision_tower.head_linear",
        "model.vision_tower.head_norm",
        "model.visual_embeddings_table",
    ),
    planner=_tiles,
    stand_ins=_image_token,
    image_processor="ovis2.Ovis2ImageProcessorPil",
    custom_token_count=Ability(reason="with visual_indicator_features beside the visual tokens"),
)

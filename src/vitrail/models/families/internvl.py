"""InternVL (1.5 to 3.5) in transformers' own format: tiles near the picture's aspect ratio, a thumbnail at the end."""

from __future__ import annotations

from typing import Any

from vitrail.data.image_plans.dynamic_tiles import DynamicTiles
from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.families.family import Family, PixelRules, own_image_token, side_of, square_side


def _tiles(processor: Any, config: Any) -> ImagePlanner:
    images, vision = processor.image_processor, config.vision_config
    tile = square_side(images.size, config)
    grid = int(tile // side_of(vision.patch_size, "vision_config.patch_size") * config.downsample_ratio)
    tokenizer = processor.tokenizer
    return DynamicTiles(
        tile=tile,
        grid=grid,
        crop=True,
        min_tiles=images.min_patches,
        max_tiles=images.max_patches,
        choice="aspect",
        thumbnail="last",
        begin=getattr(tokenizer, "start_image_token", None) or "<img>",
        end=getattr(tokenizer, "end_image_token", None) or "</img>",
    )


def _stand_ins(processor: Any, config: Any) -> tuple[str, ...]:
    # The first checkpoints' templates wrote "<image>", the later ones the token itself.
    return (*own_image_token(processor, config), "<image>")


INTERNVL = Family(
    model_type="internvl",
    about="InternVL, in transformers' own format",
    tower="model.vision_tower",
    blocks="model.vision_tower.encoder.layer",
    connector=("model.multi_modal_projector",),
    planner=_tiles,
    stand_ins=_stand_ins,
    # The image processor's own default is one tile; InternVL's processor asks for tiles.
    pixels=PixelRules(options={"crop_to_patches": True}),
    image_processor="got_ocr2.GotOcr2ImageProcessorPil",
)

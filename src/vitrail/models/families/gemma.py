"""PaliGemma (a prefix that sees itself) and Gemma 3 (pictures that see themselves, sliding layers)."""

from __future__ import annotations

from typing import Any

from vitrail.data.image_plans.fixed import Fixed
from vitrail.data.image_plans.pan_and_scan import PanAndScan
from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.families.family import (
    Ability,
    Family,
    PixelRules,
    cannot,
    picture_types,
    prefix_types,
    square_side,
)

PREFIX_SUFFIX = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endfor %}{{ bos_token }}"
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
)
"""PaliGemma's form: all pictures, the begin token, the prefix and a newline, the suffix and the end token."""

# What Gemma 3's processor asks its image processor with, whose own settings are null.
_CROPS = {
    "do_pan_and_scan": False,
    "pan_and_scan_min_crop_size": 256,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}


def _fixed(processor: Any, config: Any) -> ImagePlanner:
    side = square_side(processor.image_processor.size, config)
    grid = side // config.vision_config.patch_size
    return Fixed(grid, grid, (side, side))


def _pan_and_scan(processor: Any, config: Any) -> ImagePlanner:
    images = processor.image_processor
    side = square_side(images.size, config)
    grid = int(config.mm_tokens_per_image**0.5)
    settings = {name: _first(getattr(images, name, None), value) for name, value in _CROPS.items()}
    return PanAndScan(
        (side, side),
        grid,
        crops=settings["do_pan_and_scan"],
        min_crop=settings["pan_and_scan_min_crop_size"],
        max_crops=settings["pan_and_scan_max_num_crops"],
        min_ratio=settings["pan_and_scan_min_ratio_to_activate"],
        begin=f"\n\n{_token(processor, config.boi_token_index)}",
        end=f"{_token(processor, config.eoi_token_index)}\n\n",
    )


def _first(own: Any, default: Any) -> Any:
    return default if own is None else own


def _token(processor: Any, index: int) -> str:
    return str(processor.tokenizer.convert_ids_to_tokens(index))


def _begin_of_image(processor: Any, config: Any) -> tuple[str, ...]:
    return (_token(processor, config.boi_token_index),)


PALIGEMMA = Family(
    model_type="paligemma",
    about="PaliGemma 1 and 2",
    tower="model.vision_tower",
    blocks="model.vision_tower.encoder.layers",
    connector=("model.multi_modal_projector",),
    positions="one axis from 1",
    planner=_fixed,
    chat_template=PREFIX_SUFFIX,
    begins_with_bos=False,
    further=prefix_types,
    image_processor="siglip.SiglipImageProcessorPil",
    pack=Ability(
        reason="with a layer rule that keeps records apart; the prefix would undo transformers' own guess"
    ),
    interleave=cannot("all its pictures stand in front, in a prefix that sees itself whole"),
)
GEMMA3 = Family(
    model_type="gemma3",
    about="Gemma 3 with pictures",
    tower="model.vision_tower",
    blocks="model.vision_tower.encoder.layers",
    connector=("model.multi_modal_projector",),
    planner=_pan_and_scan,
    stand_ins=_begin_of_image,
    pixels=PixelRules(defaults=_CROPS),
    further=picture_types,
    image_processor="gemma3.Gemma3ImageProcessorPil",
    prune=cannot("its sliding layers count their window in cache entries, which dropped tokens would shift"),
)

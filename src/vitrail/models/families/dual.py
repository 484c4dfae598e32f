"""vitrail's own dual encoder: a tower, any text encoder of transformers, two projections and a temperature."""

from __future__ import annotations

from dataclasses import replace

from vitrail.models.families.encoders import CLIP

VITRAIL_DUAL_ENCODER = replace(
    CLIP,
    model_type="vitrail_dual_encoder",
    about="tower + any text encoder, in one space",
    places={
        "vision": ("vision_model", "visual_projection"),
        "vision.blocks": (
            "vision_model.blocks",
            "vision_model.model.encoder.layers",
            "vision_model.model.encoder.layer",
            "vision_model.model.vision_model.encoder.layers",
        ),
        "vision.projection": ("visual_projection",),
        "text": ("text_model", "text_projection"),
        "text.embeddings": ("text_model.embeddings",),
        "text.layers": (
            "text_model.encoder.layer",
            "text_model.encoder.layers",
            "text_model.layers",
            "text_model.encoder.block",
        ),
        "text.projection": ("text_projection",),
        "temperature": ("logit_scale", "logit_bias"),
    },
)

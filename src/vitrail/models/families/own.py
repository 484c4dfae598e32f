"""vitrail's own multimodal model: a tower, a connector and any causal language model."""

from __future__ import annotations

from typing import Any

from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.families.family import Family, side_of


def _planner(processor: Any, config: Any) -> ImagePlanner:
    side = side_of(processor.image_processor.size, "the image processor's size")
    return processor.planner((side, side))


VITRAIL = Family(
    model_type="vitrail",
    about="tower + connector + any language model",
    tower="tower",
    connector=("connector",),
    planner=_planner,
    begins_with_bos=False,
)

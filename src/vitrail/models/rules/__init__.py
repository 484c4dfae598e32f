"""Layer rules: who sees whom, where tokens are, which leave, and what the cache keeps, in one object.

with applied(model, same_segment() & visual_isolated(), layout):
    output = model(**batch)
"""

from vitrail.models.rules.applied import applied
from vitrail.models.rules.keeping import drop_at, keep_attended, keep_given
from vitrail.models.rules.masks import (
    bidirectional_items,
    causal,
    frame_causal,
    latest_picture,
    narrowing,
    own,
    same_segment,
    visual_isolated,
    widening,
    window,
)
from vitrail.models.rules.packing import refuse_unruled_resets
from vitrail.models.rules.positions import given_positions
from vitrail.models.rules.rule import Rule, Seen

__all__ = [
    "Rule",
    "Seen",
    "applied",
    "bidirectional_items",
    "causal",
    "drop_at",
    "frame_causal",
    "given_positions",
    "keep_attended",
    "keep_given",
    "latest_picture",
    "narrowing",
    "own",
    "refuse_unruled_resets",
    "same_segment",
    "visual_isolated",
    "widening",
    "window",
]

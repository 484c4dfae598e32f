"""What studies on tiny pretrained parts share: the tuned house control, from which an arm differs in one thing."""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain

EVALUATION = "development"
"""The recipe's evaluation. Tuning asks its development fold, the result the test fold; every seed draws its scenes."""


def house(questions: int = 480) -> dict[str, Any]:
    """The recipe ``house-nano`` as plain values, asked ``questions`` questions."""
    return plain(load("house-nano", {f"data.{EVALUATION}.n": questions}))

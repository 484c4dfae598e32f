"""What studies share: a tuned house control on each testbed, from which an arm differs in one thing."""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain

EVALUATION = "development"
"""The recipe's evaluation. Tuning asks its development fold, the result the test fold; every seed draws its scenes."""


RECIPES = {"nano": "house-nano", "small": "house-small"}


def house(testbed: str = "nano", questions: int = 480) -> dict[str, Any]:
    """The house control's recipe of a testbed as plain values, asked ``questions`` questions."""
    return plain(load(RECIPES[testbed], {f"data.{EVALUATION}.n": questions}))

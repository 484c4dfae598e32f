"""Does a suite of MMNeedle's questions notice the part of a place that was left out? (arXiv 2406.11230)"""

from __future__ import annotations

from vitrail.studies.describing import described
from vitrail.studies.planted import SUITE, Ability, Planted, planted, weaknesses

CELLS = {"suite": SUITE, "images": 1, "cells": 2}
ABILITIES = (
    Ability("which", "offline_needles", ("which",), CELLS),
    Ability("cell", "offline_needles", ("cell",), CELLS),
)


def nano() -> Planted:
    """Parts of a needle's place, each left out once."""
    return planted("mmneedle", ABILITIES, n=2000, questions=160, base=described())


STUDY = weaknesses(
    "mmneedle",
    "A model that was never asked whether a thing is in a haystack of four scenes, in which row or in which column "
    "answers fewer of just these questions of the suite, and as many of the others, as one that was taught all three.",
    "GPT-4o finds about 97 % of needles in ten pictures and about 1 % in ten grids of 8 × 8; open models are near zero",
    nano,
    minutes={},
)

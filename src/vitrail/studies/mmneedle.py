"""Does a suite of MMNeedle's questions notice the ability that was left out? (arXiv 2406.11230)

``vitrail study mmneedle --testbed nano``: 13 minutes on two cores, describing pictures once among them. Expected: not
testable here, and then the control alone is run. The haystack is one picture of 2 × 2 scenes, and the question is
turned round: which of four things is in it (MMNeedle's existence), and which of the four that are in it is in a given
row and column (its exact place).

One run on the development fold says what this testbed cannot carry: 84 % right of the first, 29 % of the second
(guessing gets 25), by a model that has described 8,000 pictures before, with a token for each cell behind words that
name its place. A place is not learnt, and existence alone cannot be told from it. A larger model's design is the same.
"""

from __future__ import annotations

from vitrail.studies.describing import described
from vitrail.studies.planted import SUITE, Ability, Planted, planted, too_little, weaknesses

CELLS = {"suite": SUITE, "images": 1, "cells": 2}
ABILITIES = (
    Ability("existence", "offline_needles", ("which",), CELLS),
    Ability("place", "offline_needles", ("cell",), CELLS),
)
UNTAUGHT = {
    "yes or no": too_little(52, 50, "whether a thing is there"),
    "row": too_little(52, 50),
    "column": too_little(44, 50),
    "index": too_little(53, 50, "which of two pictures shows a thing"),
}


def nano() -> Planted:
    """Existence and place, each left out once."""
    return planted("mmneedle", ABILITIES, n=2000, questions=160, untaught=UNTAUGHT, base=described())


STUDY = weaknesses(
    "mmneedle",
    "A model that was never asked which things are in a haystack of four scenes, or which of them is in a given row "
    "and column, answers fewer of just these questions of the suite, and as many of the others, as one that was taught "
    "both.",
    "GPT-4o finds about 97 % of needles in ten pictures and about 1 % in ten grids of 8 × 8; open models are near zero",
    nano,
    minutes={"nano": 13},
)

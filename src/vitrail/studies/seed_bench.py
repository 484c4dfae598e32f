"""Does a suite of SEED-Bench's abilities notice the one that was left out? (arXiv 2307.16125)

``vitrail study seed_bench --testbed nano``: a minute and a half of processor time a cell, 48 cells. Expected: each
ability falls where it was left out, and the others stay. The suite asks about scenes with exact truth, by ranking
options: what something is (SEED-Bench's identity), of what kind it is (scene understanding's counterpart) and of which
colour (its attributes).

What this testbed can carry: whether the suite's scores tell abilities apart (the mechanism). Counting, places and
relations are asked by the suite, but this model does not learn them in minutes.
"""

from __future__ import annotations

from vitrail.studies.planted import Ability, Planted, planted, weaknesses

ABILITIES = tuple(Ability(kind, "offline_scenes", (kind,)) for kind in ("what", "kind", "colour"))
UNTAUGHT = {}


def nano() -> Planted:
    """Three abilities, each left out once."""
    return planted("seed_bench", ABILITIES, n=1500, questions=160, untaught=UNTAUGHT)


STUDY = weaknesses(
    "seed_bench",
    "A model that was never asked what something is, of what kind or of which colour answers fewer of just these "
    "questions of the suite, and as many of the others, as one that was taught all three.",
    "the best of 18 models reaches 53.4 overall; abilities are told apart by 12 dimensions, 23.9 to 72.7 within a model",
    nano,
    minutes={},
)

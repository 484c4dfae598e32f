"""Does a suite of MIBench's tasks notice the one that was left out? (arXiv 2407.15272)"""

from __future__ import annotations

from vitrail.studies.describing import described
from vitrail.studies.planted import SUITE, Ability, Planted, planted, weaknesses

LENGTH = 3
FRAMES = {"suite": SUITE, "length": LENGTH}
ABILITIES = (
    Ability("comparison", "offline_sequences", ("times",), FRAMES),
    Ability("difference", "offline_differences", ("added", "removed"), {"suite": SUITE, "asked": "thing"}),
    Ability("shown", "offline_sequences", ("static",), FRAMES),
)


def nano() -> Planted:
    """Three tasks over several pictures, each left out once."""
    return planted("mibench", ABILITIES, n=1500, questions=160, base=described())


STUDY = weaknesses(
    "mibench",
    "A model that was never asked in how many of three pictures a thing is, what differs between two, or what one of "
    "them shows answers fewer of just these questions of the suite, and as many of the others, as one that was taught "
    "all three.",
    "models that excel on one picture drop on several, above all in fine detail, reasoning and examples in context",
    nano,
    minutes={},
)

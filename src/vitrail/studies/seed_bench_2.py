"""Does a suite of SEED-Bench-2's levels notice the ability that was left out? (arXiv 2311.17092)

``vitrail study seed_bench_2 --testbed nano``: 19 minutes on two cores, and once the reading that tc_llava's study
begins with. Expected: each ability falls where it was left out, and the other stays. The suite asks about one picture
(of which colour a thing is) and about three (in how many a thing is): what SEED-Bench-2's first level calls
single-image and multi-image questions. What a thing is and of what kind are left to seed_bench's study.

What this testbed can carry: whether scores of one picture and of several are told apart (the mechanism). Levels 2 and
3, freely mixed input and drawing, are not asked: this model draws nothing, and has read no documents.
"""

from __future__ import annotations

from vitrail.studies.planted import SUITE, Ability, Planted, captioned, planted, weaknesses
from vitrail.studies.tc_llava import LENGTH, sequences

ABILITIES = (
    Ability("colour", "offline_scenes", ("colour",)),
    Ability("times", "offline_sequences", ("times",), {"suite": SUITE, "length": LENGTH}),
)
UNTAUGHT = {
    "difference": "taught some kinds of change alone, a model can tell right options by their form, without a picture "
    "(77 % for what is gone, on the development fold); all kinds together were not tried"
}


def nano() -> Planted:
    """One ability of one picture and one of three, each left out once."""
    return planted(
        "seed_bench_2", ABILITIES, n=1500, questions=160, untaught=UNTAUGHT, base=captioned(sequences())
    )


STUDY = weaknesses(
    "seed_bench_2",
    "A model that was never asked of which colour a thing is, or in how many of three pictures, answers fewer of just "
    "these questions of the suite, and as many of the others, as one that was taught both.",
    "across 23 models scores fall sharply from single pictures to mixed input and to drawing",
    nano,
    minutes={"nano": 19},
)

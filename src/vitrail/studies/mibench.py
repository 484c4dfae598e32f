"""Does a suite of MIBench's tasks notice the one that was left out? (arXiv 2407.15272)

``vitrail study mibench --testbed nano``: 22 minutes on two cores, and once the reading that tc_llava's study begins
with. Expected: each task falls where it was left out, and the other stays. Of MIBench's tasks over several pictures the
suite asks for a comparison (in how many of three pictures a thing is) and for what one of them shows. The language
model has read about sequences before, as in the study of tc_llava.

What this testbed can carry: whether the suite's scores tell tasks apart (the mechanism), on the two abilities that
video_mme's study is about as well. Differences and order are asked by the suite, but this model does not learn them in
minutes; documents, knowledge and examples in context are not asked.
"""

from __future__ import annotations

from vitrail.studies.planted import SUITE, Ability, Planted, captioned, planted, too_little, weaknesses
from vitrail.studies.tc_llava import LENGTH, sequences

FRAMES = {"suite": SUITE, "length": LENGTH}
ABILITIES = (
    Ability("comparison", "offline_sequences", ("times",), FRAMES),
    Ability("shown", "offline_sequences", ("static",), FRAMES),
)
UNTAUGHT = {
    "difference": too_little(32, 36, "which thing was added or removed"),
    "order": too_little(39, 33, "what comes first or last"),
}


def nano() -> Planted:
    """Two tasks over three pictures, each left out once."""
    return planted(
        "mibench", ABILITIES, n=1500, questions=160, untaught=UNTAUGHT, base=captioned(sequences())
    )


STUDY = weaknesses(
    "mibench",
    "A model that was never asked in how many of three pictures a thing is, or what one of them shows, answers fewer "
    "of just these questions of the suite, and as many of the others, as one that was taught both.",
    "models that excel on one picture drop on several, above all in fine detail, reasoning and examples in context",
    nano,
    minutes={"nano": 22},
)

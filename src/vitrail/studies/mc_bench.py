"""Does a suite of MC-Bench's styles notice the one that was left out? (arXiv 2410.12332)

``vitrail study mc_bench --testbed nano``: 13 minutes on two cores where the control alone is run, and once the reading
that tc_llava's study begins with. Expected: not testable here. Asked is a coarse form of MC-Bench's image-level
accuracy over two pictures: in how many of them is what a text means, a thing by its name (*referring*) or any thing
that both show (*comparison*). The language model has read about sequences before, as in the study of tc_llava.

One run on the development fold: 44 % of the first (guessing gets 33) and 61 % of the second (50), hardly more than δ
above guessing. What this testbed can carry, where it can carry anything: whether the suite's scores tell styles apart
(the mechanism). Boxes are not asked for: this model reads no places.
"""

from __future__ import annotations

from vitrail.studies.planted import SUITE, Ability, Planted, captioned, planted, too_little, weaknesses
from vitrail.studies.tc_llava import sequences

PAIRS = {"suite": SUITE, "most": 2, "asked": "how many"}
ABILITIES = (
    Ability("referring", "offline_grounding", ("one",), PAIRS),
    Ability("comparison", "offline_grounding", ("same",), PAIRS),
)
UNTAUGHT = {
    "reasoning": too_little(48, 50, "about the thing that is of another kind than all others"),
    "place": too_little(49, 50, "in which half of its picture a thing is"),
}


def nano() -> Planted:
    """Two styles of text, each left out once."""
    return planted(
        "mc_bench", ABILITIES, n=2000, questions=160, untaught=UNTAUGHT, base=captioned(sequences())
    )


STUDY = weaknesses(
    "mc_bench",
    "A model that was never asked in how many of two pictures a thing that is named is, or any thing that both show, "
    "answers fewer of just these questions of the suite, and as many of the others, as one that was taught both.",
    "multimodal models beat detectors on image-level accuracy alone; the stepwise baseline beats end-to-end models",
    nano,
    minutes={"nano": 13},
)

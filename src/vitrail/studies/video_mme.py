"""Does a suite of Video-MME's kinds of question notice the one that was left out? (arXiv 2405.21075)

``vitrail study video_mme --testbed nano``: about three minutes of processor time a cell (an estimate), 36 cells, and
once the reading that tc_llava's study begins with. Expected: each ability falls where it was left out, and the others
stay. The suite shows three frames and asks which thing is in one of them (*object recognition*) and in how many a thing
is (*counting problem*). The language model has read about sequences before, as in the study of tc_llava.

What this testbed can carry: whether the suite's scores tell kinds apart (the mechanism). Order and direction are asked
by the suite as well, but this model does not learn them in minutes; durations and subtitles are not.
"""

from __future__ import annotations

from vitrail.studies.planted import SUITE, Ability, Planted, captioned, planted, too_little, weaknesses
from vitrail.studies.tc_llava import LENGTH, sequences

ABILITIES = tuple(
    Ability(name, "offline_sequences", (kind,), {"suite": SUITE, "length": LENGTH})
    for name, kind in (("shown", "static"), ("times", "times"))
)
UNTAUGHT = {
    "ends": too_little(39, 33),
    "neighbour": too_little(59, 50),
    "direction": too_little(53, 50),
}


def nano() -> Planted:
    """Two kinds of question, each left out once."""
    return planted(
        "video_mme", ABILITIES, n=2000, questions=160, untaught=UNTAUGHT, base=captioned(sequences())
    )


STUDY = weaknesses(
    "video_mme",
    "A model that was never asked what is shown in one of three frames, or how often, answers fewer of just these "
    "questions of the suite, and as many of the others, as one that was taught both.",
    "Gemini 1.5 Pro answers 75.0 % without subtitles and 81.3 % with them; accuracy falls with duration",
    nano,
    minutes={},
)

"""Does a suite of Q-Bench's questions notice the one that was left out? (arXiv 2309.14181)

``vitrail study q_bench --testbed nano``: a bit more than a minute of processor time a cell, 48 cells. Expected: each
type of question falls where it was left out, and the others stay. The suite distorts scenes by known corruptions and
asks Q-Bench's three types: is this distortion there (*yes-or-no*), which is it (*what*), how strong is it (*how*).

What this testbed can carry: whether the suite's scores tell the types apart (the mechanism), on five distortions that
a tower trained on clean scenes of 64 pixels lets through.
"""

from __future__ import annotations

from vitrail.studies.planted import Ability, Planted, planted, weaknesses

ABILITIES = tuple(Ability(kind, "offline_quality", (kind,)) for kind in ("yes-or-no", "what", "how"))


def nano() -> Planted:
    """Three types of question, each left out once."""
    return planted("q_bench", ABILITIES, n=1500, questions=160)


STUDY = weaknesses(
    "q_bench",
    "A model that was never asked whether a distortion is there, which it is, or how strong answers fewer of just "
    "these questions of the suite, and as many of the others, as one that was taught all three.",
    "GPT-4V answers 73.36 % of the perception test, a junior human 74.31 %, a senior one 81.74 %",
    nano,
    minutes={"nano": 30},
)

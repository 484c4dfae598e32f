"""Does one suite of several scenarios notice which ability was left out? (ChEF, arXiv 2311.02692)

``vitrail study chef --testbed nano``: about a minute of processor time a cell, 48 cells. Expected: each ability falls
where it was left out, and the others stay. The suite puts three of ChEF's scenarios together, each asked by ranking
options: what a scene shows (its colours), what it does not (the desideratum *hallucination*, asked as POPE asks), and
what distorts it (what *robustness* is measured under).

What this testbed can carry: whether scores of scenarios that share an inferencer tell abilities apart (the mechanism).
Calibration, learning from examples and following instructions are measured by other means than questions.
"""

from __future__ import annotations

from vitrail.studies.planted import Ability, Planted, planted, weaknesses

ABILITIES = (
    Ability("colour", "offline_scenes", ("colour",)),
    Ability("hallucination", "offline_presence", ("random", "adversarial")),
    Ability("distortion", "offline_quality", ("what",)),
)


def nano() -> Planted:
    """Three scenarios, each left out once."""
    return planted("chef", ABILITIES, n=1500, questions=160)


STUDY = weaknesses(
    "chef",
    "A model that was never taught one of three scenarios (colours, what is not there, distortions) answers fewer of "
    "just its questions, and as many of the others', as one that was taught all three.",
    "over nine models and nine scenarios none is good at everything",
    nano,
    minutes={"nano": 30},
)

"""Does a model learn from demonstrations when they name things as nobody else does? (Link-context, arXiv 2308.07891)

``vitrail study link_context --testbed nano``: never timed; an estimate is 3 minutes of one core a cell and 50 to 60
cells. Expected: above zero. The control learns episodes whose examples bear the things' own names, the method the same
episodes with an invented name for one of the two. Both are asked about things that nobody trained on, with two invented
names, at one, two and four examples of each, every episode twice with the names exchanged. Context: invented names for
both, and captions alone at as many steps.

What this testbed can carry: whether names that cannot be remembered make a model read its examples. It is a million
parameters on 298 cut-outs; if neither arm gets off one half, the claim is not testable here.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.episodic import episodes, taught_by
from vitrail.studies.house import EVALUATION

EPISODES, QUESTIONS = 4000, 480


def nano() -> Design:
    """An invented name for one class of each episode, against the classes' own names."""
    base = taught_by(episodes(EPISODES, policy="2way"), QUESTIONS)

    def arm(name: str, about: str, data: dict[str, Any] | None = None, **settings: Any) -> Arm:
        change = (
            {"data.learnt": data} if data else {f"data.learnt.{field}": v for field, v in settings.items()}
        )
        return Arm(name, changed(base, {"set": change}, name), about)

    captions = {**base["data"]["captions"], "n": EPISODES}
    return Design(
        name="an invented name in each episode, against the things' own names",
        control=Arm("own names", base, "Both classes by their own names (2way)."),
        methods=(
            arm(
                "one invented name",
                "A random string for the first class (2way-weight).",
                policy="2way-weight",
            ),
        ),
        context=(
            arm("two invented names", "Random strings for both.", policy="2way-random"),
            arm("captions alone", "No episode at all, as many steps.", data=captions),
        ),
        evaluation=EVALUATION,
        delta=0.05,
        same_data=False,
        most=16,
    )


STUDY = Study(
    paper="link_context",
    claim="A model trained on episodes in which one of two confusable classes bears an invented name answers more "
    "questions about unseen classes from examples than one trained on the same episodes with real names.",
    published="ISEKAI-10 in the range of 60 to 70 % where OpenFlamingo-9B and Otter are near one half, rising with "
    "shots (cells not verified)",
    kind="superiority",
    delta=0.05,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

"""Does a mixed alignment token help more than one constant token? (AlignGPT, arXiv 2405.14129)

``vitrail study aligngpt --testbed nano``: about 15 minutes on two cores. Expected: above zero. Here the
levels are learned with the gate in tuning alone (no scored caption stage), so this is a test of the token and its gate,
not of the whole recipe.
"""

from __future__ import annotations

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house


def nano(testbed: str = "nano") -> Design:
    """The mixed token, the same token with equal weights, and none."""
    base = house(testbed)

    def token(**settings: object) -> dict:
        surgery = {"name": "aligngpt", "learn_levels": "mixture", **settings}
        change = {"add": {"model.surgeries": [surgery], "stages.-1.trains": ["aligngpt"]}}
        return changed(base, change, "aligngpt")

    return Design(
        name="aligngpt against a constant token",
        control=Arm(
            "constant token", token(weights="uniform"), "The levels mixed with equal weights: one vector."
        ),
        methods=(Arm("aligngpt", token(), "The levels mixed by what picture and question have in common."),),
        context=(Arm("no token", base, "The house control."),),
        evaluation=EVALUATION,
        delta=0.03,
        most=16,
    )


def small() -> Design:
    """The same on a pretrained language model of 135 M parameters."""
    return nano("small")


STUDY = Study(
    paper="aligngpt",
    claim="A token that mixes alignment levels by the likeness of picture and question answers more questions right "
    "than a token that mixes them equally.",
    published="VizWiz 54.2 with the gate, 52.5 with equal weights (7 B)",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano, "small": small},
    minutes={"nano": 15},
)

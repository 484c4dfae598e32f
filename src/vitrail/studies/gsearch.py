"""Do answers stay as good when visual tokens leave along a falling sigmoid? (G-Search, arXiv 2412.00556)

``vitrail study gsearch --testbed nano``: about a minute and a half of processor time a cell, 45 to 70 cells, so 35 to
55 minutes on two cores; never timed whole. Expected: no loss of more than three points.

The house control with 64 visual tokens instead of 16, trained alike in all arms; at the questions a prompt has about 22
other tokens. The method keeps in its four layers the shares of a falling sigmoid that costs 65 % of the multiply-adds
of keeping all (words and the first layer alone are 44 %). Beside it stand, at the same cost, one cut behind the second
layer, one share for all layers, and the same sigmoid with tokens ranked at random. The shape is fixed, not searched:
calibrated for each seed it would see more data than the control. Asked is what a thing is, its kind and its colour:
kinds of question that the house control answers by guessing cannot be lost, and would halve every loss.

What this testbed can carry: whether the tokens that words attend to are the ones that answers need. It has four layers,
so the depth over which a schedule could fall is small, and speed is not measured here: at 86 tokens other things cost
more.
"""

from __future__ import annotations

from typing import Any

from vitrail.inference.keep_schedule import KeepSchedule, Shape, constant, cut_at_budget, p_sigmoid
from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.s2 import KINDS

BUDGET = 0.65
SHAPE = Shape(hidden_size=128, intermediate_size=320, num_hidden_layers=4, visual=64, other=22)
"""The testbed's language model, and an ordinary prompt of its questions."""


def nano() -> Design:
    """A falling sigmoid at 65 % of the cost, against all tokens; one cut, one share and a random order beside it."""
    change = {"model.connector.pool": 8, f"data.{EVALUATION}.kinds": list(KINDS)}
    base = changed(house(), {"set": change}, "64 visual tokens")

    def arm(name: str, schedule: KeepSchedule, about: str, ranking: str = "text") -> Arm:
        method: dict[str, Any] = {"name": "gsearch", "rates": list(schedule.rates), "ranking": ranking}
        return Arm(name, changed(base, {"set": {f"evaluation.{EVALUATION}.methods": [method]}}, name), about)

    sigmoid = p_sigmoid(6.0, 0.5, BUDGET, SHAPE)
    return Design(
        name="a falling sigmoid of visual tokens against all of them",
        control=Arm("all tokens", base, "Every layer keeps all visual tokens."),
        methods=(arm("falling sigmoid", sigmoid, "Shares that fall with depth, at 65 % of the cost."),),
        context=(
            arm(
                "one cut",
                cut_at_budget(2, BUDGET, SHAPE),
                "One cut behind the second layer, as FastV's, at the same cost.",
            ),
            arm(
                "one share",
                constant(BUDGET, SHAPE),
                "One share for all layers but the first, at the same cost.",
            ),
            arm("random order", sigmoid, "The sigmoid, with tokens ranked at random.", "random"),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        kind="non-inferiority",
        most=16,
    )


STUDY = Study(
    paper="gsearch",
    claim="Visual tokens that words attend to little may leave along a falling sigmoid that saves a third of the "
    "multiply-adds: answers are no worse by more than three points.",
    published="more than twice as fast with LLaVA and InternVL2 and no loss; above single cuts at tight budgets",
    kind="non-inferiority",
    delta=0.03,
    shows="efficiency",
    expected="no loss of more than three points",
    designs={"nano": nano},
    minutes={},
)

"""Does training on leading questions keep a model from being misled? (MMR, arXiv 2406.10638)

``vitrail study mmr --testbed nano``: 14 minutes on two cores. Expected: above zero. Both sides train on as many
pictures and turns; the method's questions take a falsehood for granted in about half of the turns, the control's never.
Asked are leading questions about pictures that nobody trains on. Beside it each cell has, on pairs of a plain and a
leading question, robust accuracy RA, the misleading rate MR and the accuracy on plain ones (``rates``): the claim is
that MR falls and RA does not.

What this testbed can carry: whether leading turns teach a model to look instead of to agree (the mechanism). Its
leading questions are sentences put in front of plain ones; those of MMR are written freely, and its models have 3 B
parameters and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder

PAIRS = 240
PROBE = "vitrail.studies.mmr:rates"


def nano() -> Design:
    """Half of the turns leading, against plain turns alone."""
    recipe = house()
    # The connector meets words first, and of a leading question some are false: both sides align on plain turns.
    recipe["data"]["aligned"] = dict(recipe["data"]["scenes"])
    recipe["data"]["scenes"] = {**recipe["data"]["scenes"], "form": "leading", "leading": 0.0}
    asked = {"stages.align.data": "aligned", f"data.{EVALUATION}.form": "leading"}
    base = changed(recipe, {"set": asked}, "asked leading questions")
    paired = changed(base, {"set": {"data.scenes.leading": 0.5}}, "leading turns")
    return Design(
        name="leading turns against plain ones",
        control=Arm(
            "plain", base, "The house control's turns: no question presupposes anything.", probe=PROBE
        ),
        methods=(
            Arm("leading", paired, "About half of the questions take a falsehood for granted.", probe=PROBE),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        most=16,
    )


def rates(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """RA, MR and the accuracy on plain questions, over pairs of the run's seed; MR is −1 where nothing is understood.

    For an arm's ``probe``; of ``PAIRS`` pairs, or as many as the evaluation asks questions if those are fewer.
    """
    import tempfile

    from vitrail.data.scenes import suite
    from vitrail.data.scenes.leading import LeadingPairs
    from vitrail.evaluation import Task, run_task
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.benchmarks.mmr import pair_figures

    recipe = run.recipe()
    scenes, asked = recipe["data"]["scenes"], recipe["data"][EVALUATION]
    pairs = LeadingPairs(
        suite(scenes["suite"]),
        asked["fold"],
        recipe["seed"],
        min(PAIRS, asked["n"]),
        asked["names"],
        asked.get("kinds"),
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = read_answers(
            run_task(Task.model_validate({"name": "pairs"}), bundle, folder, source=pairs)
        ).rows
    found = {figure.name: figure.value for figure in pair_figures(rows)}
    named = {"RA": "RA", "MR": "MR", "plain": "accuracy POS"}
    return {name: -1.0 if (value := found[figure]) is None else value for name, figure in named.items()}


STUDY = Study(
    paper="mmr",
    claim="A model of which about half the training turns take a falsehood for granted answers more leading questions "
    "right than one trained on as many plain turns.",
    published="Bunny-MMR-3B, tuned on paired turns, reaches RA 58.33 and MR 23.91; LLaVA-RLHF is at 30.67 and 57.01",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 14},
)

"""Do contrasts free a judge of pictures of its habit of saying yes? (CLUE, arXiv 2501.00192)

``vitrail study clue --testbed nano``: 8 trainings of two and a half minutes of processor time. Run once, the judge
was right in 51 % of the cases, so that there was nothing to bring out (docs/log.md). Expected: above zero. All arms
train the same small model, on the house control's conversations and on twice as many questions whether a condition
holds in a scene; those about colours and kinds are answered yes in 80 %, and in 80 % a companion stands beside what
holds, and is missing where it does not. They differ in how that model judges pairs of pictures that break a harmless
rule of two to four conditions, and that nearly do. Control: conditions at a threshold of one half. Methods: against the
answer without a picture, and beside that against the picture with the central thing erased (boxes are known). Context:
one question a rule, and all rules in one question. The figure is F1 of
*broken*; recall, accuracy and calls of the model stand in each cell's ``probe``.

A model of this size cannot reason in words, so what the contrasts leave open is decided by whether the picture makes
the condition likelier than no picture. What this testbed can carry: whether the contrasts undo a planted habit (the
mechanism). That reasoning decides the rest well, and what objective wording is worth, needs large models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design, Figure
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.planted import SUITE, captioned

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder

QUESTIONS = 4000
PICTURES = 240
SKEW, CONTEXT = 0.8, 0.8
PROBE = "vitrail.studies.clue:rates"
LEFT_OPEN = {"undecided": "prior", "detector": "given"}


def nano() -> Design:
    """One training, five ways of judging."""
    return Design(
        name="conditions judged against the habit of the model, against a plain threshold",
        control=_arm("threshold", {"contrasts": []}, "Conditions hold at a score of one half or more."),
        methods=(
            _arm(
                "prior and removal",
                LEFT_OPEN,
                "Against the answer without a picture, then against the picture with the thing erased.",
            ),
            _arm(
                "prior", {**LEFT_OPEN, "contrasts": ["prior"]}, "Against the answer without a picture alone."
            ),
        ),
        context=(
            _arm(
                "a question a rule",
                {"contrasts": [], "divide": False},
                "Each rule whole, at a score of one half or more.",
            ),
            _arm("all rules at once", None, "One question about the whole constitution."),
        ),
        evaluation=EVALUATION,
        delta=0.05,
        figure=Figure("F1 of broken rules", "probe.F1"),
        seeds=8,
        pairs=0,
        trials=1,
    )


def _arm(name: str, judging: dict[str, Any] | None, about: str) -> Arm:
    recipe = captioned(house())
    *before, last = recipe["stages"]
    settings = {
        "suite": SUITE, "yes": {"colour": SKEW, "kind": SKEW}, "context": CONTEXT, "kinds": ["thing", "kind", "colour"],
    }  # fmt: skip
    rules = {"kind": "composed", "benchmark": "offline_rules", "fold": "development", "n": PICTURES}
    asked: dict[str, Any] = {"name": EVALUATION, "data": EVALUATION, "conditions": ["trained"]}
    if judging is not None:
        asked["inferencer"] = {"name": "clue", **judging}
    data = {
        "aligned": recipe["data"]["aligned"],
        "scenes": house()["data"]["scenes"],
        "taught": {"kind": "mixture", "sources": ["scenes", "conditions"]},
        "conditions": {
            "kind": "composed", "benchmark": "offline_conditions", "fold": "train", "n": QUESTIONS,
            "settings": settings,
        },
        EVALUATION: {**rules, "settings": {"suite": SUITE}},
    }  # fmt: skip
    changes = {
        "name": "judged", "data": data, "stages": [*before, {**last, "data": "taught"}], "evaluation": [asked],
    }  # fmt: skip
    return Arm(name, plain(load({**recipe, **changes})), about, probe=PROBE)


def rates(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """F1, recall, precision and accuracy of *a rule is broken*, and calls of the model a picture.

    For an arm's ``probe``, of the pictures that the run's evaluation judged; 0 where nothing was called broken.
    """
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.benchmarks.pope import yes_no_figures

    rows = read_answers(run.evaluation(EVALUATION) / "trained.jsonl").rows
    found = {figure.name: figure.value for figure in yes_no_figures(rows)}
    calls = [row["verdict"]["calls"] for row in rows if "verdict" in row]
    model = sum(one["scores"] + one["removed"] + 2 * one["reasonings"] for one in calls)
    names = ("F1", "recall", "precision", "accuracy", "yes ratio")
    return {**{name: found[name] or 0.0 for name in names}, "calls": model / len(rows) if calls else 1.0}


STUDY = Study(
    paper="clue",
    claim="A model with a planted habit of saying yes finds broken rules with a higher F1 when each condition "
    "is judged against its answer without the picture, and with the central thing erased, than at a threshold of one "
    "half.",
    published="OS Bench, InternVL2-8B-AWQ: F1 0.879 and accuracy 87.4 %, without debiased judgement 0.746 and 66.6 %; "
    "InternVL2-76B reaches recall 95.9 % against 79.7 % for the whole constitution in one query",
    kind="superiority",
    delta=0.05,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

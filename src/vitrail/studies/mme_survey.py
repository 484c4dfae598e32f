"""Does a version of a test set that says its answers hide which of three models is better? (MME-Survey, 2411.15296)

``vitrail study mme_survey --testbed nano``: 8 trainings of about 80 seconds of processor time, asked twice each.
Expected: above zero. The survey's claim is about benchmarks: many results are confounded, by answers that can be had
without the picture among others. So the arms are versions of one test set of questions about scenes (what a thing is,
of what kind, of which colour): *clean*, and *leaking*, where each question says its answer. Each is asked of the same
three models, which one run leaves behind: trained once, twice and four times over the same records, so that their order
is known.

The effect is what the flaw loses of Kendall's τ between the models' scores and that order, the mean over 1,000 draws of
the version's questions with replacement. δ = 0.2, a tenth of its range. What the audits say stands in each cell's
``probe``: the ``blind gap`` of the longest-trained model, which should tell the two versions apart, the ``answer
balance`` (entropy of the right options' places) and the ``majority guess``. ``order`` is how often all three models
come out in their order.

All models first read questions that say their answer, as models of real size read such words without being taught. One
run on the development fold: clean 64.6, 65.4 and 71.7 % right (τ 0.72), leaking 74.6, 70.8 and 75.4 % (τ 0.08), with
blind gaps of 40 and 37 points: they use what is printed in part only, and this audit hardly notices it then.

Answers out of balance are not asked: this testbed ranks options by their words and has no place to prefer, and of yes
and no (``offline_presence yes=0.9``) it learns too little for an order. What the testbed can carry: whether this flaw
hides an order that is there (the mechanism); not how often published benchmarks have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design, Figure
from vitrail.studies.house import EVALUATION, house

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder

SUITE = {"suite": "nano-scenes-v1"}
VERSIONS: dict[str, dict[str, float]] = {"clean": {}, "leaking": {"printed": 1.0}}
"""Settings of ``offline_scenes`` for each version."""
TRAINED = {"once": 1, "twice": 1, "four_times": 2}
"""Stages, with what each adds: passes over the records."""
KINDS = ["what", "kind", "colour"]
SCENES, PRINTED, READ_STEPS = 600, 60, 40
QUESTIONS, DRAWS = 240, 1000


def recipe() -> dict[str, Any]:
    """The house's parts: the connector meets words, printed answers are read, then three stages see the same."""
    base = house()
    align, tune = base["stages"]
    settings: dict[str, Any] = {**SUITE, "kinds": KINDS}
    asks = {"kind": "composed", "benchmark": "offline_scenes", "settings": settings}
    said = {**asks, "fold": "train", "settings": {**settings, "printed": 1.0}}
    data = {
        "scenes": {**base["data"]["scenes"], "n": SCENES},
        "read": {**said, "n": READ_STEPS * tune["batch_size"]},
        "printed": {**said, "n": PRINTED},
        "all": {"kind": "mixture", "sources": ["scenes", "printed"]},
        EVALUATION: {**asks, "fold": "development", "n": QUESTIONS},
    }
    stages = [
        align,
        {**tune, "name": "read", "data": "read"},
        *({**tune, "name": name, "data": "all", "epochs": more} for name, more in TRAINED.items()),
    ]
    asked = {"name": EVALUATION, "data": EVALUATION, "conditions": ["trained"]}
    return plain(
        load({**base, "name": "trained-longer", "data": data, "stages": stages, "evaluation": [asked]})
    )


def nano() -> Design:
    """The clean version against a flawed one, over the same models."""

    def arm(version: str, about: str) -> Arm:
        return Arm(version, recipe(), about, probe=f"vitrail.studies.mme_survey:{version}")

    return Design(
        name="a flawed version of a test set against the clean one",
        control=arm("clean", "No question says its answer."),
        methods=(arm("leaking", "Each question says its answer."),),
        evaluation=EVALUATION,
        delta=0.2,
        figure=Figure("Kendall's τ with the known order", "probe.tau", -1),
        seeds=8,
        pairs=0,
        trials=1,
    )


def clean(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """See :func:`measured`."""
    return measured(run, bundle, "clean")


def leaking(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """See :func:`measured`."""
    return measured(run, bundle, "leaking")


def measured(run: RunFolder, bundle: Bundle, version: str) -> dict[str, float]:
    """A version's scores of the run's three models, how well they tell their order, and what the audits say of it.

    For an arm's ``probe``; of as many questions as the run's evaluation asks, of its fold and seed.
    """
    import tempfile

    from vitrail.evaluation.mme_survey.audits import answer_balance, blind_gap
    from vitrail.recipes.stage_model import model_after

    found: dict[str, float] = {}
    right: list[list[bool]] = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in TRAINED:
            last = stage == list(TRAINED)[-1]
            model = bundle if last else model_after(run, stage)
            rows = answers(run, model, version, f"{folder}/{stage}")
            right.append([bool(row["correct"]) for row in rows])
            found[stage] = sum(right[-1]) / len(rows)
        blind = answers(run, bundle, version, folder, "blind")
    order = recovered(right, seed=run.recipe()["seed"])
    balance, guess = answer_balance(rows)
    audits = {"blind gap": blind_gap(rows, blind), "answer balance": balance, "majority guess": guess}
    told = {name: one.value for name, one in audits.items() if one.value is not None}
    return {**found, "tau": order[0], "order": order[1], **told}


def answers(run: RunFolder, model: Bundle, version: str, folder: str, condition: str = "trained") -> Any:
    """The answered rows of a version's questions, those of the run's evaluation otherwise."""
    from vitrail.evaluation import Task, run_task
    from vitrail.evaluation.answers import read_answers

    asked = run.recipe()["data"]["asked"]
    settings = {**asked["settings"], **VERSIONS[version], "fold": asked["fold"], "n": asked["n"]}
    scenario = {
        "name": "benchmark",
        "benchmark": asked["benchmark"],
        "settings": {**settings, "seed": asked["seed"]},
    }
    task = Task.model_validate({"name": "version", "scenario": scenario})
    return read_answers(run_task(task, model, folder, condition, batch_size=32)).rows


def recovered(right: Sequence[Sequence[bool]], seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """Mean Kendall's τ of the models' scores with their order, worst first, over questions drawn with replacement, and
    how often all stand in it.

    ``right`` (models, questions). A tie counts as neither; ``seed`` draws.
    """
    import numpy as np

    table = np.asarray(right, float)
    models, n = table.shape
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    scores = weights @ table.T  # (draws, models): whole numbers, so that ties are exact
    first, second = np.triu_indices(models, 1)
    signs = np.sign(scores[:, second] - scores[:, first])
    return float(signs.mean()), float((signs == 1).all(1).mean())


STUDY = Study(
    paper="mme_survey",
    claim="A version of a test set whose questions say their answers tells the known order of three models less often "
    "than the clean one.",
    published="in words alone: many results are confounded by leaks, by questions solvable without the picture, and by "
    "the order of options",
    kind="superiority",
    delta=0.2,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 8},
)

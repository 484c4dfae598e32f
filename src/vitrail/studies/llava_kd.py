"""Does a stage of distillation beat a further stage of plain tuning? (LLaVA-KD, arXiv 2410.16236)

``vitrail study llava_kd --testbed nano``: about half a minute a cell on one core, some 75 cells. Expected:
above zero. The teacher is the same tiny model trained on six times as many scenes, so six times as many steps; it is
trained once (about two minutes, by the first cell that wants it) and kept in the cache. Both arms have three stages of
equal length on equal data; what differs is that the method's first and last also match the teacher, which costs a
forward of it in each of their steps: steps are equal, and operations are not. A forward is a third of a step, in two
of three stages; a context arm gets as many operations, as a quarter more scenes and steps. What it took to train the
teacher is in neither. A student as large as its teacher carries the mechanism (a distribution teaches more than an
answer), not the gap in size that the paper closes.
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.taught import Taught

RECORDS = 800
AS_MANY_OPERATIONS = 1000
"""Scenes of the arm without a teacher that takes as many operations as the method, training the teacher apart."""
TEACHER_RECORDS = 4800


def teacher() -> dict[str, Any]:
    """The recipe of the teacher: the house control on more scenes, for longer."""
    base = house()
    longer = {
        "data.scenes.n": TEACHER_RECORDS,
        "data.scenes.seed": 900_000,
        "seed": 900_000,
        "name": "teacher",
    }
    return changed(base, {"set": {**longer, "evaluation": []}}, "the teacher")


def three_stages() -> dict[str, Any]:
    """Pretraining of the connector, tuning, and tuning once more: PT-SFT-SFT."""
    base = house()
    tune = dict(next(stage for stage in base["stages"] if stage["name"] == "tune"))
    pretrain = {**tune, "name": "pretrain", "trains": ["connector"]}
    again = {**tune, "name": "again"}
    return plain(load({**base, "stages": [pretrain, tune, again]}, {"data.scenes.n": RECORDS}))


def nano() -> Design:
    """DPT-SFT-DFT against PT-SFT-SFT; distillation of answers alone, and of one stage alone, as context."""
    base, large = three_stages(), teacher()

    def distilled(stages: tuple[str, ...], where: str, **settings: Any) -> dict[str, Any]:
        objective = ["next_token", {"name": "llava_kd", "teacher": {"recipe": large}, **settings}]
        return changed(base, {"set": {f"stages.{name}.objective": objective for name in stages}}, where)

    return Design(
        name="three stages with distillation against three without",
        control=Arm(
            "PT-SFT-SFT", base, "Connector, tuning, and tuning once more, by the true answers alone."
        ),
        methods=(
            Arm(
                "DPT-SFT-DFT",
                distilled(("pretrain", "again"), "llava_kd"),
                "The first and the last stage also match a teacher on answers, visual tokens and their relations.",
            ),
        ),
        context=(
            Arm(
                "DPT-SFT-DFT, answers alone",
                distilled(("pretrain", "again"), "answers alone", beta=0.0, gamma=0.0),
                "The same without the visual terms.",
            ),
            Arm("PT-SFT-DFT", distilled(("again",), "the last stage"), "The last stage alone is distilled."),
            Arm(
                "DPT-SFT-SFT",
                distilled(("pretrain",), "the first stage"),
                "The first stage alone is distilled.",
            ),
            Arm(
                "PT-SFT-SFT, as many operations",
                changed(base, {"set": {"data.scenes.n": AS_MANY_OPERATIONS}}, "as many operations"),
                "No teacher, and a quarter more scenes and steps: what its forwards cost.",
            ),
        ),
        evaluation=EVALUATION,
        delta=0.02,
        most=12,
    )


STUDY = Taught(
    paper="llava_kd",
    claim="Three stages of which the first and the last also match a teacher answer more questions right than three "
    "stages of as many steps without it.",
    published="57.9 against 54.7 on ten benchmarks at 0.5 B for ordinary training of two stages; an equal-step control "
    "is not reported",
    kind="superiority",
    delta=0.02,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 25},
)

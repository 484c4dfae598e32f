"""Does a second look at what the model's own attention points to help with small things? (ViCrop, arXiv 2502.17422)

``vitrail study vicrop --testbed nano``: about two minutes of processor time a cell, 45 to 65 cells, so 45 to 65 minutes
on two cores; never timed whole. Expected: above zero, more so the smaller the thing that is asked about.

Pictures have 128 pixels and things of 10 to 40 (``nano-scenes-large-v1``); the tower sees 64. All arms train alike, and
differ in what is asked: the method appends the crop that relative attention chose, its control a crop of the same size
that lies anywhere, so that a second picture, the enlargement and their tokens are the same on both sides. Beside them
stand no crop, the crop by the gradient of attention, and the box that the data names (the most that a crop can give).

What this testbed can carry: whether the model's own attention finds what is asked about better than chance does. It
was tuned on one picture a question, so that an appended crop is new to it, for the control as well; the published gains
belong to models of 7 B that have seen many pictures. ``sizes`` adds the share right by the longer side of the thing.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.s2 import KINDS, PROBE, SUITE

BASE = 32
"""Pixels of the smallest crop: half the tower's side."""


def nano() -> Design:
    """The crop by relative attention, against one of the same size anywhere; three others beside them."""
    asked = {**house()["data"][EVALUATION], "suite": SUITE, "kinds": list(KINDS)}
    change = {"data.scenes.suite": SUITE, f"data.{EVALUATION}": asked}
    base = changed(house(), {"set": change}, "the larger pictures")

    def arm(name: str, kind: str | None, about: str) -> Arm:
        methods: list[dict[str, Any]] = (
            [] if kind is None else [{"name": "vicrop", "map": kind, "base": BASE}]
        )
        recipe = changed(base, {"set": {f"evaluation.{EVALUATION}.methods": methods}}, name)
        return Arm(name, recipe, about, probe=PROBE)

    return Design(
        name="a crop by attention against a crop anywhere",
        control=arm("random crop", "random", "A crop of the method's size, anywhere in the picture."),
        methods=(arm("attention crop", "relative", "The crop that relative attention chose."),),
        context=(
            arm("no crop", None, "The picture alone."),
            arm("gradient crop", "gradient", "The crop that the gradient of attention chose."),
            arm("true box", "given", "The box of what is asked about: the most that a crop can give."),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        most=12,
    )


STUDY = Study(
    paper="vicrop",
    claim="A frozen model answers more questions about small things right when it is shown again the crop that its own "
    "relative attention chose than when it is shown a crop of the same size from anywhere.",
    published="LLaVA-1.5-7B without training: TextVQA 47.80 to 55.17, V* 42.41 to 62.30 (in tiles)",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

"""Do small things come back when a frozen tower sees a larger picture as well? (S², arXiv 2403.13043)

``vitrail study s2 --testbed nano``: about a minute of processor time a cell, never timed whole. Expected: above zero,
more so the smaller the thing that is asked about.

Pictures have 128 pixels and things of 10 to 40 (``nano-scenes-large-v1``); the tower was made for 64. The method sees
each picture at 64 and, in four tiles, at 128. Its control sees it twice at 64: the same channels into the same
connector, as many visual tokens, and no larger picture, so that width alone is ruled out. The control's reduction is
antialiased, so the method's is, too (``antialias``), and the first half of its channels is the control's; as published,
without, stands beside it.

What this testbed can carry: whether detail that the native size loses comes back through tiles, pooling and a wider
connector (the mechanism). It cannot carry the scale of the published gains (7 B, 336 to 1,008 pixels), nor that of a
larger tower, with which the paper compares as well. A third scale would enlarge a picture that has no more detail.
Asked is what a thing is, its kind and its colour; counting and places are at chance for the house control. ``sizes``
adds the share right by the longer side of the thing asked about to each cell: under 20, 20 to 28, and more pixels of
the original, which are half as many for the tower's own size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder

SUITE = "nano-scenes-large-v1"
KINDS = ("what", "kind", "colour")
"""What the testbed answers at all, and needs to see a thing for."""
BINS = {"small": (0, 20), "medium": (20, 28), "large": (28, 129)}
"""Longer side of a thing in pixels of the original: from, and less than."""
PROBE = "vitrail.studies.s2:sizes"


def nano() -> Design:
    """Scales 1 and 2, against scale 1 twice; beside them the house control, and the method without antialiasing."""
    base = changed(
        house(),
        {"set": {"data.scenes.suite": SUITE, f"data.{EVALUATION}": _asked()}},
        "the larger pictures",
    )

    def seen(**settings: Any) -> dict[str, Any]:
        surgery = {"name": "s2", "start": "fresh", **settings}
        return changed(base, {"add": {"model.surgeries": [surgery]}}, "s2")

    return Design(
        name="s2 against two copies of one scale",
        control=Arm(
            "scale 1 twice",
            seen(scales=[1, 1]),
            "As wide a connector over two copies of the same features.",
            probe=PROBE,
        ),
        methods=(
            Arm(
                "scales 1 and 2",
                seen(scales=[1, 2], antialias=True),
                "The tower's own size, and twice that in four tiles.",
                probe=PROBE,
            ),
        ),
        context=(
            Arm("house MLP", base, "The house control: one scale, half as wide.", probe=PROBE),
            Arm(
                "as published",
                seen(scales=[1, 2]),
                "The same, its smaller picture without antialiasing.",
                probe=PROBE,
            ),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        most=16,
    )


def _asked() -> dict[str, Any]:
    """The house control's questions, about larger pictures."""
    asked = dict(house()["data"][EVALUATION])
    return {**asked, "suite": SUITE, "kinds": list(KINDS)}


def sizes(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """How many questions were asked about a thing of each of :data:`BINS`, and the share right.

    A bin without questions has the share 0. For an arm's ``probe``; the bundle is not asked anything.
    """
    from vitrail.evaluation.answers import read_answers
    from vitrail.recipes.loading import load
    from vitrail.recipes.sources import open_data

    recipe = load(run.recipe())
    asked = recipe.evaluation[0]
    source = open_data(recipe, asked.data, "questions")
    right: dict[str, list[bool]] = {name: [] for name in BINS}
    for row in read_answers(run.evaluation(asked.name) / "trained.jsonl").rows:
        right[bin_of(longer_side(source[row["row"]].meta))].append(bool(row["correct"]))
    found: dict[str, float] = {}
    for name, values in right.items():
        found[f"{name}, asked"] = len(values)
        found[f"{name}, share right"] = sum(values) / len(values) if values else 0.0
    return found


def longer_side(meta: dict[str, Any]) -> int:
    """The longer side, in pixels of the original, of the thing that a question of a scene is about."""
    x1, y1, x2, y2 = meta["scene"]["objects"][meta["about"][0]]["box"]
    return max(x2 - x1, y2 - y1)


def bin_of(pixels: int) -> str:
    """Which of :data:`BINS` a side belongs to."""
    return next(name for name, (low, high) in BINS.items() if low <= pixels < high)


STUDY = Study(
    paper="s2",
    claim="A frozen tower that sees each picture at its own size and at twice that, in tiles, answers more questions "
    "about small things right than one that sees it twice at its own size, at as many visual tokens and channels.",
    published="LLaVA-1.5-7B at 336, 672 and 1008 pixels: V* attributes 43.5 to 51.3, TextVQA 58.2 to 61.0",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

"""Does time in the positions, with frames that see themselves whole, help to tell frames' order? (TC-LLaVA, 2409.03206)

``vitrail study tc_llava --testbed nano``: about two minutes a cell on one core. Expected: above zero. Asked are
questions whose answer changes when frames change places (``ORDER``); a bag of frames is at chance on each of them. The
published scores are of a 7 B model on long videos; here frames are few and small, which carries the mechanism, not the
scale.
"""

from __future__ import annotations

from typing import Any

from vitrail.data.scenes.sequences import ORDER
from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house

LENGTH = 3
STEPS, BATCH = 300, 16
READING = {
    "name": "read",
    "data": "told",
    "trains": ["language"],
    "learning_rate": 2e-3,
    "batch_size": BATCH,
    "max_steps": STEPS,
}


def sequences() -> dict[str, Any]:
    """The house control on short sequences of pictures: trained on all kinds of questions, asked about order.

    The house's language model has never met a word about order, as a real one has. It reads first: the same questions
    about frames that are written out.
    """
    base = house()
    scenes = {**base["data"]["scenes"], "form": "sequences", "length": LENGTH}
    asked = {**base["data"][EVALUATION], "form": "sequences", "length": LENGTH, "kinds": list(ORDER)}
    told = {**scenes, "form": "told_sequences", "n": BATCH * STEPS}
    return plain(
        load(
            {
                **base,
                "name": "house-nano-sequences",
                "data": {**base["data"], "scenes": scenes, "told": told, EVALUATION: asked},
                "stages": [READING, *base["stages"]],
            }
        )
    )


def nano() -> Design:
    """Both changes, against running positions and a causal mask; each change alone beside them."""
    base = sequences()

    def tc_llava(**settings: object) -> dict[str, Any]:
        return changed(base, {"add": {"model.surgeries": [{"name": "tc_llava", **settings}]}}, "tc_llava")

    return Design(
        name="tc_llava against running positions and a causal mask",
        control=Arm("vanilla", base, "Running positions and a causal mask; the same parameters and steps."),
        methods=(
            Arm("tc_llava", tc_llava(), "Positions advance at each frame, and a frame sees itself whole."),
        ),
        context=(
            Arm(
                "positions alone",
                tc_llava(mask="none"),
                "Positions advance at each frame; the mask is causal.",
            ),
            Arm("mask alone", tc_llava(rope=False), "A frame sees itself whole; positions are running ones."),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        most=16,
    )


STUDY = Study(
    paper="tc_llava",
    claim="With a temporal index in the rotary positions and attention in both directions within a frame, more "
    "questions about the order of frames are answered right than with running positions and a causal mask.",
    published="best of its size on MVBench and video question answering with supervised tuning alone (7 B); each of "
    "the two changes adds",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

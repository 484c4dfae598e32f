"""Does time in the positions, with frames that see themselves whole, help to tell frames' order? (TC-LLaVA, 2409.03206)

``vitrail study tc_llava --testbed nano``: about two minutes a cell on one core, and ten for what all begin with.
Expected: above zero. The house's language model has met no word about order, as a real one has: once, for all arms, it
reads questions about frames that are written out, with running positions and a causal mask (kept in the cache). Then
every arm meets pictures, with a fresh connector.

Asked is what comes first and last, and what comes before and behind a thing: a bag of frames is at chance there. These
are the kinds that the language model learns from words; which picture shows a thing, and which way it moves, stay at
chance on this testbed under any arm's control. The published scores are of a 7 B model on long videos; here frames are
few and small, which carries the mechanism, not the scale.
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.taught import Taught

LENGTH = 3
ASKED = ("ends", "neighbour")
WORLD = 800_000
"""Seed of what is read beforehand; the seeds of studies are small numbers."""
READ_STEPS, BATCH = 5000, 16
RATE, SEQUENCES, EPOCHS = 2e-3, 4000, 2


def reader() -> dict[str, Any]:
    """The recipe of what all arms begin with: the house's parts, the language model having read about order."""
    base = house()
    told = {
        **base["data"]["scenes"],
        "form": "told_sequences",
        "length": LENGTH,
        "n": READ_STEPS * BATCH,
        "turns": [1, 2],
        "seed": WORLD,
    }
    stage = {
        "name": "read",
        "data": "told",
        "trains": ["language"],
        "learning_rate": 2e-3,
        "batch_size": BATCH,
        "epochs": 1,
    }
    told_recipe = {"name": "house-nano-order", "seed": WORLD, "model": base["model"], "data": {"told": told}}
    return plain(load({**told_recipe, "stages": [stage]}))


def sequences() -> dict[str, Any]:
    """The house control on short sequences of pictures, behind :func:`reader`: trained on all kinds of questions."""
    base = house()
    scenes = {
        **base["data"]["scenes"],
        "form": "sequences",
        "length": LENGTH,
        "n": SEQUENCES,
        "turns": [2, 3],
    }
    asked = {**base["data"][EVALUATION], "form": "sequences", "length": LENGTH, "kinds": list(ASKED)}
    align, tune = base["stages"]
    return plain(
        load(
            {
                **base,
                "name": "house-nano-sequences",
                "model": {
                    "recipe": reader(),
                    "surgeries": [{"name": "reinitialise", "parts": ["connector"]}],
                },
                "data": {**base["data"], "scenes": scenes, EVALUATION: asked},
                "stages": [align, {**tune, "learning_rate": RATE, "epochs": EPOCHS}],
            }
        )
    )


def nano() -> Design:
    """Both changes, against running positions and a causal mask; each change alone beside them."""
    base = sequences()

    def tc_llava(**settings: object) -> dict[str, Any]:
        surgery = {"name": "tc_llava", **settings}
        return changed(base, {"add": {"model.surgeries": [surgery]}}, "tc_llava")

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


STUDY = Taught(
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
    minutes={"nano": 65},
)

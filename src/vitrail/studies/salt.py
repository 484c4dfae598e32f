"""Do soft labels of a small model in the first steps help a larger one to read? (SALT, arXiv 2410.18779)

``vitrail study salt --testbed nano``: about a minute a cell on one core. Expected: above zero. A Llama of width 128
and four layers starts from random weights and reads texts about scenes for 200 steps; a Llama of width 64 and two
layers, trained before on as many (once, about half a minute, kept in the cache), gives soft labels in the first 40. All
arms have the same steps and texts; the method also pays the small model's forward in a fifth of its steps. A gain of a
quarter in wall-clock time at 2.8 B and 545 billion tokens is no part of it.

The effect is the difference in held-out loss, in nats a token. δ = 0.01, one percent of perplexity.
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.taught import Taught

EVALUATION = "development"
OMEGA, TEMPERATURE, SHARE = 2 / 3, 1.0, 0.2
"""τ is 1 here: the paper's 1/4 is remembered for a vocabulary of hundreds of thousands of words, and not verified."""


def teacher(steps: int = 200) -> dict[str, Any]:
    """The recipe of the small model."""
    base = plain(load("pretrain-text"))
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {**base["model"]["language"]["config"], **sizes, "num_key_value_heads": 1}
    change = {
        "name": "small",
        "seed": 900_000,
        "model.language.config": config,
        "data.texts.seed": 900_000,
        "stages.read.max_steps": steps,
        "evaluation": [],
    }
    return changed(base, {"set": change}, "the teacher")


def nano() -> Design:
    """SALT against standard training; the teacher to the end, a weaker teacher, and uniform labels as context."""
    base = plain(load("pretrain-text"))

    def taught(small: dict[str, Any], where: str, **settings: Any) -> dict[str, Any]:
        objective = {
            "name": "salt",
            "teacher": {"recipe": small},
            "omega": OMEGA,
            "temperature": TEMPERATURE,
            **settings,
        }
        return changed(base, {"set": {"stages.read.objective": objective}}, where)

    small = teacher()
    uniform = {"stages.read.objective": {"name": "next_token", "label_smoothing": 0.1}}
    return Design(
        name="salt against standard training",
        control=Arm("standard", base, "The true next token in every step."),
        methods=(
            Arm(
                "salt",
                taught(small, "salt", n_kd=SHARE),
                f"Two thirds of the target are the small model's in the first {SHARE:.0%} of the steps.",
            ),
        ),
        context=(
            Arm(
                "to the end",
                taught(small, "to the end", decay="never"),
                "The small model never leaves (RKD).",
            ),
            Arm(
                "a weaker teacher",
                taught(teacher(60), "a weaker teacher", n_kd=SHARE),
                "A small model of 60 steps instead of 200.",
            ),
            Arm(
                "uniform labels",
                changed(base, {"set": uniform}, "uniform labels"),
                "Label smoothing of 0.1: soft labels that know nothing.",
            ),
        ),
        evaluation=EVALUATION,
        delta=0.01,
        most=16,
    )


STUDY = Taught(
    paper="salt",
    claim="At equal steps a model that learns from a smaller one's distribution in the first fifth of them has a lower "
    "held-out loss than one that does not.",
    published="47.94 against 47.32 few-shot average at equal steps (2.8 B with a teacher of 1.5 B), reached with about "
    "70 % of the steps",
    kind="superiority",
    delta=0.01,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

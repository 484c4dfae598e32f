"""Do new examples of what a student gets wrong teach more than as many of anything? (LLM2LLM, arXiv 2403.15042)

``vitrail study llm2llm --testbed nano``: cells of about 20 seconds on one core. Expected: above zero. 64 questions
about composed scenes are the seeds; in each of four rounds the student is trained from the same weights for as many
steps, and 48 new scenes with the same kind of question and the same right answer join the data, made by a program
whose answers are exact. The control is the same loop with seeds drawn evenly instead of wrong ones: as many rounds,
items, records and steps. What the loop adds over training on the seeds alone is context. A teacher that composes scenes
carries the mechanism (choosing by mistakes), not a language model's gift of writing problems.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.looped import Looped

SEEDS, ITEMS, ROUNDS, STEPS, RATE = 64, 48, 4, 40, 1e-3
KINDS = ["what", "kind", "colour"]
"""What the house control learns at all; numbers, places and relations stay at chance (docs/house-control.md)."""


def seeds_alone() -> dict[str, Any]:
    """The recipe without a loop: the connector is aligned once, then few questions are learnt."""
    base = house(questions=360)
    base["data"]["seeds"] = {**base["data"]["scenes"], "n": SEEDS, "kinds": KINDS}
    tune = {"data": "seeds", "max_steps": STEPS, "epochs": None, "batch_size": 16, "learning_rate": RATE}
    few = {f"stages.tune.{name}": value for name, value in tune.items()}
    short = {"data.scenes.n": 1600, "stages.align.max_steps": 60, f"data.{EVALUATION}.kinds": KINDS}
    return changed(base, {"set": {**short, **few}}, "seeds alone")


def nano() -> Design:
    """LLM2LLM and the same loop with seeds drawn evenly."""
    base = seeds_alone()
    tuned = ("tune",)

    def looped(name: str, about: str, **settings: Any) -> Arm:
        loop = {
            "name": "llm2llm", "data": "seeds", "rounds": ROUNDS, "items": ITEMS, "max_new_tokens": 8,
            "teacher": {"name": "scenes", "same": "answer"}, "every_round": False, "share_start": True,
            "batch_size": 64, **settings,
        }  # fmt: skip
        return Arm(name, changed(base, {"set": {"loop": loop}}, name), about, tuned=tuned)

    noisy = {"name": "scenes", "same": "answer", "wrong": 0.2}
    whole = ITEMS * (ROUNDS - 1)
    return Design(
        name="examples made from mistakes against examples made from any seed",
        control=looped("any seed", "New examples of seeds drawn evenly.", source="random"),
        methods=(looped("wrong seeds", "New examples of seeds that are answered wrongly."),),
        context=(
            Arm("seeds alone", base, "No new examples, as many steps as a round.", tuned=tuned),
            looped("all mistakes", "Mistakes on made examples make examples, too.", source="all"),
            looped("at once", "All new examples after one round.", rounds=2, items=whole),
            looped("noisy teacher", "A fifth of the new examples has a wrong answer.", teacher=noisy),
        ),
        evaluation=EVALUATION,
        delta=0.02,
        most=12,
    )


STUDY = Looped(
    paper="llm2llm",
    claim="At equal rounds, records and steps new examples of seeds that the student answers wrongly teach more than "
    "new examples of seeds drawn evenly.",
    published="up to +24.2 points on GSM8K, +32.6 on CaseHOLD, +32.0 on SNIPS, +52.6 on TREC and +39.8 on SST-2 over "
    "tuning a 7 B model on few seeds alone",
    kind="superiority",
    delta=0.02,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 13},
)

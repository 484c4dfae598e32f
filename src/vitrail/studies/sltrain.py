"""Does low rank plus sparse, trained from scratch, read better than low rank of as many parameters? (SLTrain, arXiv
2406.02214)

``vitrail study sltrain --testbed nano``: about a minute a cell on one core. Expected: above zero. A Llama of
width 128 and four layers starts from random weights and reads texts about scenes, every arm the same tokens. The rank
is a quarter of the width and 3 % of each matrix are sparse, as in the paper's smallest model (128 of 512, .03): what
the sparse values cost beside the factors is the same share, 6 %. Memory and time are no part of it
(``benchmarks/sltrain.py``), and 400 thousand tokens say nothing about perplexity at 60 M parameters and more.

The effect is the difference in held-out loss, in nats a token. δ = 0.02, two percent of perplexity, is less than what
the paper counts as staying near full rank (26.04 against 24.36 at 130 M parameters: 0.07).
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design

EVALUATION = "development"
RANK, DENSITY, ALPHA = 32, 0.03, 32.0
FACTORS = "sltrain.factors"


def nano() -> Design:
    """Low rank plus sparse, low rank of as many parameters, every matrix whole, and sparse alone."""
    # Every seed is asked about texts of its own, so that its interval covers them.
    base = changed(plain(load("pretrain-text")), {"set": {f"data.{EVALUATION}.seed": None}}, "the study")
    shared = {"rank": RANK, "alpha": ALPHA}
    both = _operated(base, {"name": "sltrain", "density": DENSITY, **shared}, "sltrain")
    low = _operated(base, {"name": "low_rank", "density_as_rank": DENSITY, **shared}, "the matched control")
    return Design(
        name="sltrain against low rank of as many parameters",
        control=Arm("low rank", low, "Each layer's rank raised by what the sparse values would have cost."),
        methods=(Arm("sltrain", both, f"Rank {RANK}, and {DENSITY:.0%} of each matrix at fixed places."),),
        context=(
            Arm("full rank", base, "Every matrix whole."),
            Arm("sparse alone", _without_factors(both), "The factors stay at zero, the sparse values train."),
        ),
        evaluation=EVALUATION,
        delta=0.02,
        most=16,
    )


def _operated(base: dict[str, Any], surgery: dict[str, Any], where: str) -> dict[str, Any]:
    return changed(base, {"add": {"model.surgeries": [surgery]}}, where)


def _without_factors(recipe: dict[str, Any]) -> dict[str, Any]:
    """``B`` is zero when it is new, and at a learning rate of zero it stays so."""
    rate = recipe["stages"][0]["learning_rate"]
    change = {
        "stages.read.trains": ["all", FACTORS],
        "stages.read.learning_rate": {"all": rate, FACTORS: 0.0},
    }
    return changed(recipe, {"set": change}, "sparse alone")


STUDY = Study(
    paper="sltrain",
    claim="Trained from scratch on as many tokens, linear layers that are low-rank plus sparse have a lower held-out "
    "loss than low-rank ones of as many parameters.",
    published="perplexity 34.2 against 78.2 for low rank alone (full rank 34.1), Llama of 60 M parameters on C4",
    kind="superiority",
    delta=0.02,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

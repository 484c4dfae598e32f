"""Does a visual embedding table beat an MLP with as many parameters? (Ovis, arXiv 2405.20797)

``vitrail study ovis --testbed nano``: about 15 minutes on two cores. Expected: above zero. A tiny tower
and a Llama of width 128 on composed scenes carry the mechanism (mixtures of learned visual words, read through the
decoder's own embedding space), not the scale: the published gain is an average over benchmarks at 7 B.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house


def nano() -> Design:
    """Ovis, the MLP with as many parameters, and the table read at its likeliest word alone."""
    return _design(house(), words=1024, pool=4)


def small() -> Design:
    """The same with a table of 8,192 words, nine to a picture."""
    return _design(house("small"), words=8192, pool=3)


def _design(base: dict[str, Any], words: int, pool: int) -> Design:
    ovis = {"name": "ovis", "words": words, "pool": pool}
    table = changed(base, {"set": {"model.connector": ovis}}, "ovis")
    wide = {"name": "mlp", "pool": pool, "match": ovis}
    matched = changed(base, {"set": {"model.connector": wide}}, "the matched control")
    argmax = changed(base, {"set": {"model.connector": {**ovis, "tokenise": "st_argmax"}}}, "argmax")
    return Design(
        name="ovis against an MLP of as many parameters",
        control=Arm(
            "matched MLP", matched, "A two-layer MLP whose hidden width gives it as many parameters."
        ),
        methods=(Arm("ovis", table, f"A softmax over {words:,} visual words that mixes their embeddings."),),
        context=(
            Arm("house MLP", base, "The house control, narrower than the matched one."),
            Arm("ovis, one word", argmax, "The likeliest word alone, gradients straight through."),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        most=16,
    )


STUDY = Study(
    paper="ovis",
    claim="A visual embedding table, read by a softmax over visual words, answers more questions right than a "
    "two-layer MLP with as many parameters.",
    published="+8.8 % on average over benchmarks at 7 B, against an MLP of the same parameter count",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano, "small": small},
    minutes={"nano": 15},
)

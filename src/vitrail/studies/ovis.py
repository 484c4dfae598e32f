"""Does a visual embedding table beat an MLP with as many parameters? (Ovis, arXiv 2405.20797)

``vitrail study ovis --testbed nano``: about 25 minutes on two cores. Expected: above zero. A tiny tower
and a Llama of width 128 on composed scenes carry the mechanism (mixtures of learned visual words, read through the
decoder's own embedding space), not the scale: the published gain is an average over benchmarks at 7 B.
"""

from __future__ import annotations

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house

WORDS = 1024


def nano() -> Design:
    """Ovis, the MLP with as many parameters, and the table read at its likeliest word alone."""
    base = house()
    ovis = {"name": "ovis", "words": WORDS, "pool": 4}
    table = changed(base, {"set": {"model.connector": ovis}}, "ovis")
    wide = {"name": "mlp", "pool": 4, "match": ovis}
    matched = changed(base, {"set": {"model.connector": wide}}, "the matched control")
    argmax = changed(base, {"set": {"model.connector": {**ovis, "tokenise": "st_argmax"}}}, "argmax")
    return Design(
        name="ovis against an MLP of as many parameters",
        control=Arm(
            "matched MLP", matched, "A two-layer MLP whose hidden width gives it as many parameters."
        ),
        methods=(Arm("ovis", table, f"A softmax over {WORDS:,} visual words that mixes their embeddings."),),
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
    designs={"nano": nano},
    minutes={"nano": 25},
)

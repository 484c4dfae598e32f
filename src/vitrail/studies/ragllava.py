"""Do answers get better when tokens that owe much to the picture count more? (RagLLaVA, arXiv 2407.21439)

``vitrail study ragllava --testbed nano``: about a minute of processor time a cell (an estimate), 40 to 60 cells, so
about half an hour on two cores; never timed whole. Noise goes into pixels, so that a step has two forwards of the tower
where the house control has stored features. Expected: above zero, but small. The control has the same two forwards with
weights of one, which is next-token prediction; the method weights tokens in the second stage, at the same steps. Beside
them, as context: next tokens on a third more records, since a forward without gradients is about a third of a step, and
weights without the pool. Asked is what a thing is, its kind and its colour: the house control answers the other kinds
of question by guessing, and no weights would show there.

What this testbed can carry: the token weights alone, in answers about one picture. The distractor in the prompt and the
reranker need a retrieval set and a model that reads several pictures; they are built and tested, and not measured here.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.s2 import KINDS

STAGE = "tune"
RECORDS = 2000
EXTRA = 4 / 3


def nano() -> Design:
    """Weighted by visual sensitivity against plain next tokens, and against a third more records of them."""
    base = changed(house(), {"set": {f"data.{EVALUATION}.kinds": list(KINDS)}}, "what is answered at all")

    def arm(name: str, objective: dict[str, Any], about: str, **further: Any) -> Arm:
        change = {f"stages.{STAGE}.objective": objective, **further}
        return Arm(name, changed(base, {"set": change}, name), about)

    # Bounds of 1 weight nothing: next tokens, with the pixels and the second forward of the method.
    plain = {"name": "ragllava", "low": 1.0, "high": 1.0}
    return Design(
        name="tokens weighted by what they owe to the picture, against all alike",
        control=arm("all alike", plain, "The same two forwards; every token counts once."),
        methods=(
            arm("weighted", {"name": "ragllava"}, "Weights of 1 to 5 by how far the logit falls in noise."),
        ),
        context=(
            arm(
                "all alike, more records",
                {"name": "next_token"},
                "Next tokens on a third more records: what the second forward costs.",
                **{"data.scenes.n": round(RECORDS * EXTRA)},
            ),
            arm(
                "weighted, without a pool",
                {"name": "ragllava", "pool": 1},
                "Each token has its own weight alone.",
            ),
        ),
        evaluation=EVALUATION,
        delta=0.02,
        most=12,
    )


STUDY = Study(
    paper="ragllava",
    claim="A model trained with answer tokens weighted by their visual sensitivity answers more questions about "
    "pictures right than one trained on all tokens alike, at equal steps and forwards.",
    published="noise-injected training improves LLaVA-1.5-13B on WebQA and MultimodalQA with retrieved and with given "
    "pictures (cells not verified)",
    kind="superiority",
    delta=0.02,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)

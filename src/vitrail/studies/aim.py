"""Are demonstrations that were read apart as good as their pictures in the prompt? (AIM, arXiv 2406.07588)

``vitrail study aim --testbed nano``: never timed; an estimate is 4 minutes of one core a cell and 50 to 60 cells.
Expected: no loss of more than five points. One model, trained alike in both arms: captions, then link-context episodes
with two invented names (:mod:`vitrail.studies.episodic`), then, all else frozen, the projection alone on other episodes
whose examples are read apart. The control is asked with the examples' pictures in the prompt (the projection then does
nothing), the method with examples read apart. Context: the projection as the identity and drawn, untrained; examples
without pictures; none; and examples read apart whose pictures were dealt out anew, where nothing may be left.

What this testbed can carry: whether states on the text bring over what the picture showed. The model has learnt to read
examples first, which the paper's models did in their pretraining; if the control does not get off one half, the claim
is not testable here. Tokens, time and memory against shots: ``benchmarks/aim.py``.
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.episodic import episodes, taught_by
from vitrail.studies.house import EVALUATION

EPISODES, FUSED, QUESTIONS = 4000, 1500, 480


def nano() -> Design:
    """Examples read apart against examples as pictures, in the same model."""
    taught = taught_by(episodes(EPISODES, policy="2way-random"), QUESTIONS, show="pictures")
    apart = episodes(FUSED, policy="2way-random", show="apart", seed=700_000)
    fuse = {
        "name": "fuse",
        "data": "fused",
        "trains": ["aim"],
        "learning_rate": 1e-3,
        "warmup": 0.1,
        "batch_size": 16,
        "epochs": 1,
    }
    base = plain(
        load(
            {
                **taught,
                "model": {**taught["model"], "surgeries": [{"name": "aim"}]},
                "data": {**taught["data"], "fused": apart},
                "stages": [*taught["stages"], fuse],
            }
        )
    )

    def arm(name: str, about: str, recipe: dict[str, Any] = base, **settings: Any) -> Arm:
        change = {f"data.{EVALUATION}.{field}": value for field, value in settings.items()}
        return Arm(name, changed(recipe, {"set": change}, name), about)

    untrained = {**base, "stages": base["stages"][:2]}
    drawn = {**untrained, "model": {**base["model"], "surgeries": [{"name": "aim", "init": "random"}]}}
    return Design(
        name="examples read apart, against examples as pictures",
        control=arm("pictures", "Every example's picture in the prompt."),
        methods=(arm("apart", "Examples read apart, projected by what was trained.", show="apart"),),
        context=(
            arm(
                "apart, dealt anew", "Read apart, their pictures exchanged.", show="apart", control="shuffled"
            ),
            arm("apart, identity", "An untrained projection: the identity.", untrained, show="apart"),
            arm("apart, drawn", "An untrained projection, drawn.", drawn, show="apart"),
            arm("text alone", "Examples without their pictures.", show="text"),
            arm("no examples", "The question alone.", show="none"),
        ),
        evaluation=EVALUATION,
        delta=0.05,
        kind="non-inferiority",
        most=16,
    )


STUDY = Study(
    paper="aim",
    claim="Examples that the frozen model reads apart, their states on the text projected into the prompt, serve as "
    "well as their pictures in the prompt: answers are no worse by more than five points.",
    published="few-shot quality comparable to or above ordinary multimodal prompts, memory almost flat over shots "
    "(Qwen-VL, LLaVA-NeXT; cells not verified)",
    kind="non-inferiority",
    delta=0.05,
    shows="efficiency",
    expected="no loss of more than five points",
    designs={"nano": nano},
    minutes={},
)

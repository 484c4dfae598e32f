"""Does MIR rank checkpoints as the same tuning does? (Modality Integration Rate, arXiv 2410.07167)

``vitrail study mir --testbed nano``: about a quarter of an hour on two cores. Expected: above zero, the lower MIR is
behind the alignment stage, the more questions the tuned model answers right. Twelve checkpoints differ in how long, on
how much, on what words and through which connector the alignment stage went; then all are tuned alike, on four seeds.
MIR, and perplexity on conversations that nobody trains on, are measured between the stages; the loss is that of the
alignment stage's last step. The tuning is short on purpose: after the house's own, an aligned connector and a fresh one
answer as well as each other on the development fold, and there is nothing to rank. A tiny tower and a Llama of width
128 can show whether the figure ranks checkpoints of its own kind, not whether it does so among 7 B models and their
benchmarks.

Context: MoCa (a scale and a shift of visual tokens behind each layer), trained from the alignment stage on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Association, Figure
from vitrail.studies.house import EVALUATION, house

PROBE = "vitrail.studies.mir:indicators@align"
ALIGN_STEPS, TUNE_STEPS, PER_STEP = 100, 30, 16
PICTURES = 100
WORDS = 60
"""Words of each unrelated text: about as many tokens as there are of a picture's, times three."""


def indicators(run: Any, bundle: Any) -> dict[str, float]:
    """MIR and perplexity of the aligned model, on pictures of the development fold that belong to the run's seed.

    Of ``PICTURES`` pictures, or as many as questions are asked if those are fewer (a mock).
    """
    import math

    from vitrail.analysis.modality_integration import answer_loss, measure
    from vitrail.data.scenes import suite

    recipe = run.recipe()
    scenes, pictures = recipe["data"]["captions"], min(PICTURES, recipe["data"]["asked"]["n"])
    source = suite(scenes["suite"]).conversations(
        fold="development", names=scenes["names"], seed=recipe["seed"], n=2 * pictures, turns=(4, 5)
    )
    value = measure(bundle, source, pictures, seed=recipe["seed"], max_words=WORDS, batch_size=20).value
    loss = answer_loss(bundle, source, pictures, batch_size=20)
    return {"mir": value, "perplexity": math.exp(min(loss, 700.0))}


def nano() -> Association:
    """Twelve alignment stages, one tuning."""
    base = house()
    base["data"]["captions"] = {**base["data"]["scenes"], "n": 2000}
    short = {"max_steps": TUNE_STEPS, "batch_size": PER_STEP, "epochs": None}
    lengths = {
        "stages.align.data": "captions",
        "stages.align.max_steps": ALIGN_STEPS,
        "data.scenes.n": TUNE_STEPS * PER_STEP,
        **{f"stages.tune.{name}": value for name, value in short.items()},
    }
    base = changed(base, {"set": lengths}, "the house with a short tuning")

    def arm(name: str, change: Mapping[str, Any], about: str) -> Arm:
        return Arm(name, changed(base, {"set": dict(change)}, name), about, probe=PROBE)

    steps, data, connector = "stages.align.max_steps", "data.captions", "model.connector"
    return Association(
        name="MIR of the aligned checkpoint with accuracy after tuning",
        points=(
            arm("house", {}, "100 steps on 2,000 pictures, each with 4 or 5 exchanges."),
            arm("not aligned", {steps: 1}, "One step: the tuning meets a fresh connector."),
            arm("10 steps", {steps: 10}, "A tenth of the house's steps."),
            arm("30 steps", {steps: 30}, "A third of the house's steps."),
            arm("300 steps", {steps: 300}, "Three times the house's steps."),
            arm("128 pictures", {f"{data}.n": 128}, "The house's steps on 128 pictures, one batch."),
            arm("512 pictures", {f"{data}.n": 512}, "The house's steps on 512 pictures."),
            arm("one exchange", {f"{data}.turns": [1, 1]}, "Each picture with one exchange."),
            arm("captions", {f"{data}.kinds": ["caption"]}, "Each picture with a caption alone."),
            arm("narrow", {f"{connector}.hidden": 8}, "A connector of 8 units between its layers."),
            arm("wide", {f"{connector}.hidden": 512}, "A connector of 512 units between its layers."),
            arm("no places", {f"{connector}.cell_embedding": False}, "A connector that marks no places."),
        ),
        context=(_moca(base),),
        x=Figure("MIR", "probe.mir", -1),
        y=Figure("accuracy after tuning", "score"),
        indicators=(Figure("alignment loss", "loss.align", -1), Figure("perplexity", "probe.perplexity", -1)),
        evaluation=EVALUATION,
        delta=0.3,
        seeds=4,
        alike=("tune",),
    )


def _moca(base: Mapping[str, Any]) -> Arm:
    """The house with MoCa. Its alignment never runs the language model, so that MoCa learns in the tuning."""
    change = {"add": {"model.surgeries": [{"name": "moca"}], "stages.-1.trains": ["moca"]}}
    return Arm(
        "house, MoCa", changed(base, change, "moca"), "The house with calibrated visual tokens.", probe=PROBE
    )


STUDY = Study(
    paper="mir",
    claim="The lower the Modality Integration Rate of an aligned checkpoint, the more questions it answers right once "
    "it is tuned as all others are.",
    published="MIR goes with the average of benchmarks after tuning over data, captions, recipes and connectors at 7 B",
    kind="association",
    delta=0.3,
    shows="capability",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 13},
)

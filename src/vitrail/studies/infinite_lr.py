"""Does one warm-up with a rate that stays beat a cosine for each dataset? (Infinite learning rate, arXiv 2503.02844)

``vitrail study infinite_lr --testbed nano``: about 50 seconds a cell on one core, some 60 cells.
Expected: above zero. A Llama of width 128 and four layers starts from random weights and reads three kinds of texts
one after the other, 50 steps each: scenes of 32 drawings, of 16 others, and of 298 others that are worded otherwise.
Both arms have the same texts, steps and trials of learning rates, and go on with the optimizer's moments; the method
ends with half a stage of annealing, a sixth of all steps, which is about what the paper gives it, and the control's
cosine ends at each border. 150 steps on texts about scenes carry the mechanism (what a new warm-up costs on old data),
not the scale.

The effect is the difference in held-out loss over all three kinds alike, in nats a token, at the end. δ = 0.01, one
percent of perplexity. Beside it stand forgetting and the jump at the borders (``probe``), and as context 10 % replay,
the reverse order, and all texts at once. The other cool-down and the full rate throughout are settings of the schedule
(``cooldown_shape: invsqrt``, ``constant: 1``), and left out for time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitrail.recipes.continual import continual
from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design

EVALUATION = "development"
DATASETS = ("few", "others", "many")
STEPS, BATCH = 50, 16
COSINE = {"name": "repeated_cosine"}
INFINITE = {"name": "infinite", "cooldown": 0.6}
ANNEAL = 0.5
PROBES = {"data": [f"{name}-held" for name in DATASETS], "every": 0.2, "records": 16, "batch_size": 16}


def texts() -> dict[str, Any]:
    """A recipe with the three kinds of texts, and one stage that could read any of them."""
    base = plain(load("pretrain-text"))
    kinds = {
        "few": {"suite": "nano-scenes-v1", "names": "known"},
        "others": {"suite": "nano-scenes-v1", "names": "helpers"},
        "many": {"suite": "scenes-v1", "names": "known"},
    }
    read = {name: {"kind": "scene_texts", **kind, "n": STEPS * BATCH} for name, kind in kinds.items()}
    held = {f"{name}-held": {**one, "fold": "development", "n": 80} for name, one in read.items()}
    asked = {"kind": "mixture", "sources": dict.fromkeys(held, 1.0)}
    stage = {**base["stages"][0], "data": "few", "batch_size": BATCH, "max_steps": STEPS, "probes": PROBES}
    data = {**read, **held, EVALUATION: asked}
    return plain(load({**base, "name": "three-kinds-of-texts", "data": data, "stages": [stage]}))


def kept(run: Any, bundle: Any) -> dict[str, float]:
    """Forgetting, and the jump at the borders, of a run over the datasets in the order of its stages."""
    from vitrail.recipes import continual as room

    order = [stage["name"] for stage in run.recipe()["stages"]]
    found = room.kept(run, order, [f"{name}-held" for name in order])
    return {"forgetting": found["forgetting"], "jump": found["jump"]}


def nano() -> Design:
    """The infinite schedule against repeated cosine, without replay."""
    base = texts()

    def arm(
        name: str, about: str, schedule: dict[str, Any], order: Sequence[str] = DATASETS, **settings: Any
    ) -> Arm:
        anneal = ANNEAL if schedule["name"] == "infinite" else 0.0
        recipe = continual(base, order, schedule=schedule, anneal=anneal, **settings)
        return Arm(name, recipe, about, probe="vitrail.studies.infinite_lr:kept")

    back = tuple(reversed(DATASETS))
    return Design(
        name="the infinite schedule against a cosine for each dataset",
        control=arm("repeated cosine", "Each dataset warms up and decays anew.", COSINE),
        methods=(
            arm("infinite", "One warm-up and cool-down; the rate stays, and is annealed once.", INFINITE),
        ),
        context=(
            arm(
                "repeated cosine, replay",
                "A tenth of each batch is from earlier datasets.",
                COSINE,
                replay=0.1,
            ),
            arm("infinite, replay", "The same with the infinite schedule.", INFINITE, replay=0.1),
            arm("repeated cosine, reversed", "The datasets in the reverse order.", COSINE, back),
            arm("infinite, reversed", "The same with the infinite schedule.", INFINITE, back),
            _joint(base),
        ),
        evaluation=EVALUATION,
        delta=0.01,
        most=10,
    )


def _joint(base: dict[str, Any]) -> Arm:
    """All texts at once, by one cosine that knows the future: as many steps of as many records."""
    everything = {"kind": "mixture", "sources": dict.fromkeys(DATASETS, 1.0)}
    stage = {**base["stages"][0], "data": "all", "schedule": COSINE, "max_steps": STEPS * len(DATASETS)}
    recipe = plain(load({**base, "data": {**base["data"], "all": everything}, "stages": [stage]}))
    return Arm("all at once", recipe, "Every batch has texts of each kind; one cosine over all steps.")


STUDY = Study(
    paper="infinite_lr",
    claim="When datasets come one after the other, a rate that stays after one warm-up ends with a lower held-out loss "
    "over all of them than a cosine for each dataset.",
    published="the infinite schedule consistently beats repeated cosine in continual pretraining of masked "
    "autoencoders and of a language model, with and without replay",
    kind="superiority",
    delta=0.01,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 30},
)

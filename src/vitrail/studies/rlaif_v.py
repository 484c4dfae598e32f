"""Do preferences judged claim by claim leave fewer invented objects than those judged as a whole? (RLAIF-V, 2405.17220)

``vitrail study rlaif_v --testbed nano``: cells of about 20 seconds on one core, and once a seed the house control that
they all begin with. Expected: above zero. One in six of its captions of composed scenes names things that are not
there. In two rounds it samples six captions for each of 120 pictures, a labeller that is right in 85 % judges them, and
DPO trains on pairs. The method judges claims; the control judges each caption at once, with the same labeller,
candidates, balance of lengths and steps. The score is the share of captions that name a thing and none that is not
there; CHAIR, recall of what is there and length stand in each cell's ``probe``. A labeller of known accuracy stands
for the 34 B model.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.house import house
from vitrail.studies.looped import Looped

SUITE = "nano-scenes-v1"
EVALUATION = "described"
PROBE = "vitrail.studies.rlaif_v:invented"
STEPS, PROMPTS, ROUNDS, RATE, ACCURACY = 14, 120, 2, 3e-4, 0.85


def invented(run: Any, bundle: Any) -> dict[str, float]:
    """CHAIR, recall and length of the captions that the run's evaluation has."""
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.hallucination import chair_of

    answers = read_answers(run.evaluation(EVALUATION) / "trained.jsonl")
    return chair_of(answers.rows, SUITE)


def captioner() -> dict[str, Any]:
    """The house control, which has learnt captions among questions, and rounds of DPO on its own captions."""
    base = house()
    scenes = base["data"]["scenes"]
    one = {"turns": [1, 1], "kinds": ["caption"]}
    base["data"] = {
        "scenes": scenes,
        "prompts": {**scenes, **one, "n": PROMPTS * ROUNDS},
        EVALUATION: {**scenes, **one, "fold": "development", "n": 200},
    }
    tune = next(stage for stage in base["stages"] if stage["name"] == "tune")
    base["stages"].append(
        {
            **tune, "name": "dpo", "data": "prompts", "objective": "dpo", "epochs": None, "max_steps": STEPS,
            "learning_rate": RATE, "schedule": "cosine", "warmup": 0.1,
        }
    )  # fmt: skip
    base["evaluation"] = [
        {
            "name": EVALUATION, "data": EVALUATION, "inferencer": {"name": "generate", "max_new_tokens": 48},
            "metric": {"name": "chair", "vocabulary": SUITE}, "conditions": ["trained"], "batch_size": 50,
        }
    ]  # fmt: skip
    loop = {
        "name": "rlaif_v", "data": "prompts", "rounds": ROUNDS, "per_round": PROMPTS, "candidates": 6,
        "max_new_tokens": 48, "splitter": "rules", "labeller": {"name": "scene_truth", "accuracy": ACCURACY},
        "every_round": False, "share_start": True, "batch_size": 64,
    }  # fmt: skip
    return changed(base, {"set": {"loop": loop}}, "the captioner")


def nano() -> Design:
    """Claims against whole captions; imitation, a labeller that knows nothing, and one round as context."""
    base = captioner()

    def arm(name: str, about: str, **fields: Any) -> Arm:
        change = {"set": {field.replace("__", "."): value for field, value in fields.items()}}
        return Arm(name, changed(base, change, name), about, probe=PROBE, tuned=("dpo",))

    guess = {"name": "scene_truth", "accuracy": 0.5}
    return Design(
        name="preferences judged claim by claim against preferences judged as a whole",
        control=arm("whole captions", "The labeller judges each caption at once.", loop__judging="whole"),
        methods=(arm("claims", "The labeller judges every claim; what has fewer wrong ones is preferred."),),
        context=(
            arm(
                "imitated", "The chosen captions are learnt as answers.", stages__dpo__objective="next_token"
            ),
            arm("a guessing labeller", "Labels are right in half of the cases.", loop__labeller=guess),
            arm(
                "one round",
                "All prompts at once, twice the steps.",
                loop__rounds=1,
                loop__per_round=ROUNDS * PROMPTS,
                stages__dpo__max_steps=ROUNDS * STEPS,
            ),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        most=12,
    )


STUDY = Looped(
    paper="rlaif_v",
    claim="At equal candidates, steps and labeller, preferences by the number of rejected claims leave more captions "
    "without an invented object than preferences by a judgement of the whole caption.",
    published="object hallucination cut by 82.9 % at 7 B with a labeller of 34 B; divide and conquer beats judging "
    "whole responses, and several rounds beat one",
    kind="superiority",
    delta=0.03,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 12},
    mock_loop=(
        ("labeller", {"name": "scene_truth", "accuracy": 0.5}),
        ("balance", False),
        ("temperature", 1.5),
    ),
)

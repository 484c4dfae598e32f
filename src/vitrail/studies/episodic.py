"""The episodic testbed: which of two cut-outs is it, by names that the examples alone tell?

Things of the suite ``scenes-v1`` as the tiny tower takes them (64 pixels): 298 to train on, 99 that nobody trained on
for the result, 63 others for tuning. Studies of learning in context share it.
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.house import EVALUATION, house

SHOTS = (1, 2, 4)
CUT_OUTS = {
    "kind": "episodes",
    "suite": "scenes-v1",
    "side": 64,
    "wording": "short",
    "shortest": 3,
    "longest": 5,
}


def episodes(n: int, **settings: Any) -> dict[str, Any]:
    """``n`` episodes of things to train on, as a recipe's data."""
    return {**CUT_OUTS, "fold": "train", "names": "known", "n": n, "shots": list(SHOTS), **settings}


def asked(n: int, **settings: Any) -> dict[str, Any]:
    """``n`` questions about things that nobody trained on, both names invented, each asked with the names exchanged."""
    told = {"policy": "2way-random", "swapped": True, **settings}
    return {**CUT_OUTS, "fold": "development", "names": "held-out", "n": n, "shots": list(SHOTS), **told}


def taught_by(data: dict[str, Any], questions: int, **shown: Any) -> dict[str, Any]:
    """The house control whose last stage learns ``data`` in the place of its conversations, asked about episodes."""
    base = house()
    captions = {**base["data"]["scenes"], "kinds": ["caption"], "turns": [1, 1]}
    align, tune = base["stages"]
    stages = [{**align, "data": "captions"}, {**tune, "data": "learnt"}]
    found = {"captions": captions, "learnt": data, EVALUATION: asked(questions, **shown)}
    evaluation = [{"name": EVALUATION, "data": EVALUATION, "conditions": ["trained"]}]
    return plain(load({**base, "data": found, "stages": stages, "evaluation": evaluation}))

"""Does a suite of MC-Bench's styles notice the one that was left out? (arXiv 2410.12332)"""

from __future__ import annotations

from typing import Any

from vitrail.studies.describing import described
from vitrail.studies.planted import SUITE, Ability, Planted, planted, weaknesses

PAIRS = {"suite": SUITE, "most": 2}


def _asked(name: str, kind: str, asked: str) -> Ability:
    settings: dict[str, Any] = {**PAIRS, "asked": asked}
    return Ability(name, "offline_grounding", (kind,), settings)


ABILITIES = (
    _asked("referring", "one", "how many"),
    _asked("comparison", "same", "how many"),
    _asked("place", "half: one", "half"),
)


def nano() -> Planted:
    """Styles of text and where a thing is, each left out once."""
    return planted("mc_bench", ABILITIES, n=1500, questions=160, base=described())


STUDY = weaknesses(
    "mc_bench",
    "It.",
    "multimodal models beat detectors on image-level accuracy alone; the stepwise baseline beats end-to-end models",
    nano,
    minutes={},
)

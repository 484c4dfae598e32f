"""A base for studies of places: a tiny model that has described pictures before it is asked where something is.

The house control reads no places in its 125 steps (*where* is at chance, docs/house-control.md). Here connector and
language model describe scenes first and say what is in a part of them, once for all arms (four minutes of processor
time, kept in the cache); each picture is four cells behind words that name their place. Nothing of what a suite asks
about stitched or several pictures is among it. Its loss still falls at the end (0.31 a token behind 0.57 after 150
steps); behind 2,000 questions of a kind rows and columns stayed at chance all the same (studies/mmneedle.py).
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.house import house

WORLD = 700_000
"""Seed of what is described beforehand; the seeds of studies are small numbers."""
PICTURES, EPOCHS = 8000, 3
CONNECTOR = {"name": "mlp", "pool": 2, "cell_words": True}


def describer() -> dict[str, Any]:
    """The recipe of what all arms begin with."""
    base = house()
    shown = {
        **base["data"]["scenes"],
        "n": PICTURES,
        "kinds": ["caption", "what"],
        "turns": [2, 3],
        "seed": WORLD,
    }
    align, tune = base["stages"]
    stages = [
        {**align, "data": "shown"},
        {**tune, "name": "describe", "data": "shown", "epochs": EPOCHS, "max_steps": None},
    ]
    model = {**base["model"], "connector": CONNECTOR}
    return plain(
        load(
            {
                "name": "house-nano-describer",
                "seed": WORLD,
                "model": model,
                "data": {"shown": shown},
                "stages": stages,
            }
        )
    )


def described() -> dict[str, Any]:
    """The house control's last stage behind :func:`describer`."""
    base = house()
    *_, tune = base["stages"]
    return plain(
        load({**base, "name": "house-nano-described", "model": {"recipe": describer()}, "stages": [tune]})
    )

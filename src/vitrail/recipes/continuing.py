"""Stages that go on from the end of an earlier one: what is refused when the recipe is read, and which stages keep it.

A stage with ``continues`` begins with the weights, the optimizer and (on a schedule without an end) the place on the
schedule that the named stage ended with. So the trunk of a continual run and its branches are plain stages:

    stages:
      - {name: news, data: news, schedule: {name: infinite, cooldown: 0.5}, …}
      - {name: news-annealed, data: news, continues: news, schedule: {name: infinite, cooldown: 0.5, anneal: 0.5}, …}
      - {name: code, data: code, continues: news, schedule: {name: infinite, cooldown: 0.5}, …}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitrail.registry import nearest
from vitrail.training.stages import StageConfig

Fault = tuple[tuple[str | int, ...], str, Any]
_OPTIMISER = ("learning_rate", "optimizer", "weight_decay", "betas", "epsilon")


def faults(stages: Sequence[StageConfig], data: set[str]) -> list[Fault]:
    """What is wrong with ``continues`` and ``probes`` of a recipe's stages: path, message, value."""
    found: list[Fault] = []
    for position, stage in enumerate(stages):
        place = ("stages", position)
        if stage.probes is not None:
            for name in stage.probes.data:
                if name not in data:
                    hint = nearest(name, sorted(data))
                    found.append(
                        ((*place, "probes", "data"), f"'data' has no source of this name; {hint}", name)
                    )
        if stage.continues is None:
            continue
        earlier = {one.name: number for number, one in enumerate(stages[:position])}
        if stage.continues not in earlier:
            hint = nearest(stage.continues, list(earlier)) if earlier else "it is the first stage"
            found.append(((*place, "continues"), f"no earlier stage has this name; {hint}", stage.continues))
            continue
        found += _disagreements(stages, position, earlier[stage.continues])
    return found


def _disagreements(stages: Sequence[StageConfig], position: int, trunk: int) -> list[Fault]:
    stage, other = stages[position], stages[trunk]
    place: tuple[str | int, ...] = ("stages", position)
    found: list[Fault] = []
    for one in stages[trunk + 1 : position + 1]:
        if set(one.trains) != set(other.trains):
            what = "it" if one is stage else f"the stage {one.name!r} in between"
            message = f"{what} trains other parts than {other.name!r} ({', '.join(other.trains)}); train the same ones"
            found.append(((*place, "continues"), message, stage.continues))
            break
    differ = [name for name in _OPTIMISER if getattr(stage, name) != getattr(other, name)]
    if differ:
        value = getattr(other, differ[0])
        message = f"the optimizer goes on from {other.name!r}, where this is {value!r}; give the same"
        found.append(((*place, differ[0]), message, getattr(stage, differ[0])))
    if stage.goes_on_with_schedule:
        found += _schedule_faults(stage, other, place)
    return found


def _schedule_faults(stage: StageConfig, other: StageConfig, place: tuple[str | int, ...]) -> list[Fault]:
    own, theirs = stage.made_schedule, other.made_schedule
    if type(own) is not type(theirs) or own.trunk() != theirs.trunk():
        message = f"the schedule goes on from {other.name!r}, which has other settings; give the same ones"
        return [((*place, "schedule"), message, None)]
    if getattr(theirs.config, "anneal", 0):
        message = (
            f"{other.name!r} ends with annealing, from which nothing can go on; continue the stage before it, and "
            "leave anneal out there"
        )
        return [((*place, "continues"), message, stage.continues)]
    return []


def trunks(stages: Sequence[StageConfig]) -> set[str]:
    """The names of stages that another one continues."""
    return {stage.continues for stage in stages if stage.continues is not None}

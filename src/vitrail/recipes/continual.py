"""Datasets that arrive one after the other, as the stages of a recipe, and what a run over them kept.

The protocol of arXiv 2503.02844: each dataset is a stage that goes on from the one before (weights, optimizer and, on a
schedule without an end, the place on it). A fraction of each batch may come from earlier datasets (replay). On a
schedule without an end the last stage anneals, and a branch that anneals may be run behind each other one, so that
there is a model to use; the next dataset goes on from the state before it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vitrail.analysis.continual import continual_metrics, matrix_of, transient_jump
from vitrail.recipes.loading import load, plain
from vitrail.registry import nearest
from vitrail.training.probing import read_probes

if TYPE_CHECKING:
    from vitrail.storage.runs import RunFolder

BRANCH = "-annealed"


def continual(
    base: Mapping[str, Any],
    datasets: Sequence[str],
    *,
    schedule: Mapping[str, Any] | str | None = None,
    replay: float = 0.0,
    anneal: float = 0.0,
    branch_steps: int | None = None,
    probes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The plain recipe ``base`` with its last stage made into one for each of ``datasets`` (names of its data).

    ``schedule``: of every stage (default: the base's). ``replay``: the share of each batch that comes from the datasets
    before, equally. ``anneal``: how much of the last stage anneals, as the schedule's own field has it.
    ``branch_steps``: of a branch that anneals behind each stage but the last. ``probes``: of every stage.
    ValueError for names that are no data or come twice, and for what has no effect.
    """
    known = plain(load(base))
    if not known["stages"]:
        raise ValueError(
            f"the recipe {known['name']!r} has no stage that datasets could be learnt by; give it one"
        )
    _check(known, datasets, replay)
    template = {**known["stages"][-1], **({} if schedule is None else {"schedule": copy.deepcopy(schedule)})}
    template |= {} if probes is None else {"probes": dict(probes)}
    own = template.get("schedule")
    if (anneal or branch_steps) and not (isinstance(own, Mapping) and own.get("name") == "infinite"):
        raise ValueError(
            "anneal has no effect on this schedule, which ends each stage by itself; use 'infinite'"
        )
    made: list[dict[str, Any]] = []
    for place, name in enumerate(datasets):
        data, mixture = _replayed(datasets[: place + 1], replay)
        known["data"] |= mixture
        stage = {**template, "name": name, "data": data}
        stage |= {"continues": datasets[place - 1]} if place else {}
        last = place == len(datasets) - 1
        made.append(_annealing(stage, anneal) if last and anneal else stage)
        if branch_steps and not last:
            branch = {
                **stage,
                "name": f"{name}{BRANCH}",
                "continues": name,
                "epochs": None,
                "max_minutes": None,
            }
            made.append(_annealing({**branch, "max_steps": branch_steps}, branch_steps))
    return plain(load({**known, "stages": [*known["stages"][:-1], *made]}))


def _check(base: Mapping[str, Any], datasets: Sequence[str], replay: float) -> None:
    unknown = next((name for name in datasets if name not in base["data"]), None)
    if unknown is not None:
        raise ValueError(f"'data' has no source called {unknown!r}; {nearest(unknown, sorted(base['data']))}")
    twice = next((name for name in datasets if datasets.count(name) > 1), None)
    if twice is not None or not datasets:
        what = "no dataset is named" if twice is None else f"the dataset {twice!r} is named twice"
        raise ValueError(f"{what}; name each once, in the order in which they come")
    if not 0 <= replay < 1:
        raise ValueError(
            f"replay is {replay:g}; give the share of a batch that is from earlier data: 0 to below 1"
        )


def _replayed(seen: Sequence[str], replay: float) -> tuple[str, dict[str, Any]]:
    """The name of a stage's data, and the mixture of that name where earlier datasets are replayed."""
    *old, new = seen
    if not replay or not old:
        return new, {}
    shares = {new: 1 - replay, **{name: replay / len(old) for name in old}}
    name = f"{new}-and-replay"
    return name, {name: {"kind": "mixture", "sources": shares}}


def _annealing(stage: Mapping[str, Any], anneal: float) -> dict[str, Any]:
    return {**stage, "schedule": {**stage["schedule"], "anneal": anneal}}


def kept(
    run: RunFolder, datasets: Sequence[str], probed: Sequence[str], first: float = 0.2
) -> dict[str, Any]:
    """What a run over ``datasets`` (names of its stages) kept, by its probes on ``probed``, one held-out source each.

    ``matrix``: the loss on each after each dataset (behind the branch that anneals, where there is one), with its
    ``final`` average and ``forgetting``; ``jump``: the mean over borders of how far the mean loss on what was learnt
    before rises within the ``first`` share of the next dataset's steps. ValueError for stages that were not probed.
    """
    rows = {name: read_probes(run.stage(name)) for name in datasets}
    missing = next((name for name, found in rows.items() if not found), None)
    if missing is not None:
        raise ValueError(
            f"{run.path} has no probes of the stage {missing!r}; give its stages probes, and run it"
        )
    branches = {name: read_probes(run.stage(f"{name}{BRANCH}")) for name in datasets}
    ends = [(branches[name] or rows[name])[-1] for name in datasets]
    found = continual_metrics(matrix_of(ends, probed))
    jumps = [
        transient_jump(rows[name], probed[:place], round(first * rows[name][-1]["step"]))
        for place, name in enumerate(datasets)
        if place
    ]
    return {
        "matrix": found.matrix.tolist(),
        "final": found.final,
        "forgetting": found.forgetting,
        "jump": sum(jumps) / len(jumps) if jumps else 0.0,
    }

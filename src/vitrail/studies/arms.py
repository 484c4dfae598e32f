"""Arms of a comparison: recipes that differ in one thing, at equal budgets.

A method changes a recipe as its catalogue entry says: ``set`` gives fields by dotted name other values, ``add`` appends
to lists. Its matched control is changed by the entry's ``control``, so that what the method adds in parameters or
compute the control has, too.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitrail.recipes import overrides
from vitrail.recipes.loading import load, plain


@dataclass(frozen=True)
class Arm:
    """One side: a plain recipe, and what is tuned beside the learning rate.

    ``grid`` maps dotted fields of the recipe to the values that are tried. ``probe`` is ``"module:function"``, called
    with (run folder, trained bundle) when a cell has finished, or ``"module:function@stage"``, called with the model as
    that stage left it; the numbers that it returns by name go into the result. ``tuned`` names the stages whose
    learning rates are tuned (default: all): what comes before them stays as it is, and is made once for all trials.

    ValueError for a stage that the recipe does not have.
    """

    name: str
    recipe: Mapping[str, Any]
    about: str = ""
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    probe: str | None = None
    tuned: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        there = [stage["name"] for stage in self.recipe.get("stages", ())]
        for name in self.tuned or ():
            if name not in there:
                raise ValueError(
                    f"{self.name}: there is no stage {name!r} to tune; there are {', '.join(there)}"
                )

    def settings(self) -> list[dict[str, Any]]:
        """Every combination of the grid's values; one empty one without a grid."""
        names = list(self.grid)
        return [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*(self.grid[name] for name in names))
        ]


def changed(recipe: Mapping[str, Any], change: Mapping[str, Any], where: str = "method") -> dict[str, Any]:
    """A copy of a plain recipe with ``{"set": {field: value}, "add": {list: [items]}}`` applied, checked as a recipe.

    ValueError, naming ``where``, for a field that does not exist or a value that does not fit.
    """
    unknown = sorted(set(change) - {"set", "add", "needs", "about"})
    if unknown:
        raise ValueError(f"{where} has {unknown[0]!r}; known are set, add, needs and about")
    try:
        result, _ = overrides.apply(recipe, dict(change.get("set", {})))
        for name, items in dict(change.get("add", {})).items():
            result, _ = overrides.apply(
                result, {name: [*_list_at(result, name), *copy.deepcopy(list(items))]}
            )
        _rates_of_added_parts(result)
        return plain(load(result))
    except ValueError as error:
        raise ValueError(f"{where} does not fit the recipe {recipe.get('name')!r}: {error}") from None


def _rates_of_added_parts(recipe: Mapping[str, Any]) -> None:
    """A stage with a learning rate for each part trains an added part at the largest of them."""
    for stage in recipe.get("stages", ()):
        rates = stage.get("learning_rate")
        if isinstance(rates, dict):
            for part in stage["trains"]:
                rates.setdefault(part, max(rates.values()))


def _list_at(recipe: Mapping[str, Any], name: str) -> list[Any]:
    place: Any = recipe
    for step in name.split("."):
        if isinstance(place, (list, tuple)):
            named = [item for item in place if isinstance(item, Mapping) and item.get("name") == step]
            place = named[0] if named else place[int(step)] if step.lstrip("-").isdigit() else None
        else:
            place = (place or {}).get(step)
    if place is not None and not isinstance(place, (list, tuple)):
        raise ValueError(f"{name} is {place!r}, no list that something could be added to")
    return list(place or ())


def budget(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm may spend: for each stage its steps (or epochs, or minutes), the records of one, and its data; with a
    loop also its rounds and how much it makes.
    """
    found = {}
    loop = recipe.get("loop") or {}
    rounds = {name: loop[name] for name in _OF_A_LOOP if loop.get(name) is not None}
    for stage in recipe.get("stages", ()):
        found[stage["name"]] = {
            "max_steps": stage.get("max_steps"),
            "epochs": stage.get("epochs"),
            "max_minutes": stage.get("max_minutes"),
            "records a step": stage.get("batch_size", 8) * stage.get("accumulation", 1),
            "data": _what_is_read(recipe.get("data", {}), stage.get("data")),
            **({"loop": rounds} if rounds else {}),
        }
    return found


_OF_A_LOOP = ("rounds", "data", "items", "per_seed", "candidates", "per_round", "per_prompt", "pairs")
"""Settings of a loop that say how often its stages run, and on how much of what it makes."""


def _what_is_read(data: Mapping[str, Any], name: str) -> Any:
    """The settings of a stage's data; of what draws from others those of all of these, in whatever shares."""
    below = leaves(data, name)
    found = [
        # How many of the questions are leading costs nothing: as many pictures and turns.
        {field: value for field, value in data[leaf].items() if field not in ("seed", "fold", "leading")}
        for leaf in below
    ]
    return found[0] if below == [name] else sorted(found, key=str)


def leaves(data: Mapping[str, Any], name: str) -> list[str]:
    """The sources that a recipe's data ``name`` is drawn from: itself, or those below what draws from others."""
    one = data.get(name)
    if one is None:  # a source that is named for its share alone
        return []
    if one["kind"] not in ("mixture", "subset", "relevant"):
        return [name]
    below = list(one["sources"]) if one["kind"] == "mixture" else [one["source"]]
    return list(dict.fromkeys(leaf for child in below for leaf in leaves(data, child)))


def require_equal_budgets(arms: Sequence[Arm], same_data: bool = True) -> None:
    """ValueError if two arms may spend different budgets: which, where, and how much.

    ``same_data=False``: what they read is the method, so that steps and records a step count alone.
    """

    def budget_of(arm: Arm) -> dict[str, Any]:
        found = budget(plain(load(arm.recipe)))
        return found if same_data else {name: {**one, "data": None} for name, one in found.items()}

    first = arms[0]
    wanted = budget_of(first)
    for arm in arms[1:]:
        own = budget_of(arm)
        if own == wanted:
            continue
        if list(own) != list(wanted):
            raise ValueError(
                f"{arm.name} has the stages {', '.join(own)}, and {first.name} has {', '.join(wanted)}: "
                "arms are compared at equal budgets, stage by stage"
            )
        stage = next(name for name in own if own[name] != wanted[name])
        parts = dict.fromkeys((*own[stage], *wanted[stage]))
        part = next(part for part in parts if own[stage].get(part) != wanted[stage].get(part))
        raise ValueError(
            f"arms have different budgets: {part} of stage {stage!r} is {own[stage].get(part)!r} for {arm.name} and "
            f"{wanted[stage].get(part)!r} for {first.name}; make them equal"
        )


def require_alike(arms: Sequence[Arm], stages: Sequence[str]) -> None:
    """ValueError if two arms differ in one of ``stages`` or its data: which, where, and how."""
    for name in stages:
        first = _stage(arms[0], name)
        for arm in arms[1:]:
            own = _stage(arm, name)
            part = next((part for part in first if own.get(part) != first[part]), None)
            if part is not None:
                raise ValueError(
                    f"{part} of stage {name!r} is {own.get(part)!r} for {arm.name} and {first[part]!r} for "
                    f"{arms[0].name}; this stage has to be the same for all arms"
                )


def _stage(arm: Arm, name: str) -> dict[str, Any]:
    recipe = plain(load(arm.recipe))
    found = next((stage for stage in recipe["stages"] if stage["name"] == name), None)
    if found is None:
        raise ValueError(f"{arm.name} has no stage {name!r}, which has to be the same for all arms")
    return {**found, "data": recipe["data"][found["data"]]}

"""A comparison on one's own recipe, model and data: from the words of ``vitrail compare`` to a design."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vitrail.papers.catalogue import paper
from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.setting_up import asks_anew, evaluation_of

OWN = "mine"
DELTAS = {"share right": 0.02, "nats a token": 0.02}
"""The smallest effect that matters, where nobody says: two points of accuracy, or 0.02 nats a token."""


def on_own_file(recipe: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The recipe with its file ``source`` divided by pictures into training, tuning and result.

    Multiple-choice records are scored by the share that is answered right, others by the likelihood of the last answer.
    ValueError if the file holds neither kind alone.
    """
    found = plain(load(recipe))
    data = {**found["data"][source], "fold": "train", "on_error": "set_aside"}
    found["data"][source] = data
    found["data"]["result"] = {**data, "fold": "test"}
    scored = {} if _has_choices(found, source) else {"inferencer": "reference", "metric": "loss"}
    found["evaluation"] = [{"name": OWN, "data": "result", **scored}]
    return plain(load(found))


def _has_choices(recipe: Mapping[str, Any], source: str) -> bool:
    from vitrail.recipes.sources import open_data

    whole = load({**recipe, "data": {**recipe["data"], source: {**recipe["data"][source], "fold": None}}})
    opened = open_data(whole, source, "questions")
    having = sum(getattr(record, "choices", None) is not None for record in opened)
    if 0 < having < len(opened):
        raise ValueError(
            f"data.{source}: {having} of {len(opened)} records have choices and the others have none; a comparison "
            "needs one kind of question. Put them into two files"
        )
    return having > 0


def method_arm(base: Mapping[str, Any], word: str) -> tuple[Arm, Mapping[str, Any] | None]:
    """The arm of ``+ovis`` or ``+ovis+s2``, and its matched control's recipe (None where the base itself is matched).

    ValueError for a paper that does not exist, is not built, or is no method that a recipe could be changed by.
    """
    recipe, control = dict(base), dict(base)
    grid: dict[str, Sequence[Any]] = {}
    about, matched = [], False
    for name in filter(None, word.split("+")):
        entry = paper(name)
        if entry.state != "built":
            raise ValueError(
                f"{entry.id} ({entry.title}) is in the catalogue but not built yet: it cannot be compared"
            )
        if entry.method is None:
            raise ValueError(
                f"{entry.id} changes no recipe ({entry.kind}); 'vitrail papers {entry.id}' tells how to use it"
            )
        recipe = changed(recipe, _change(entry.method, base), f"+{entry.id}{_needs(entry.method)}")
        if entry.control is not None:
            change = _change(entry.control, base)
            control = changed(control, change, f"the control of +{entry.id}")
            matched = matched or any(change.values())
        grid |= {field: tuple(values) for field, values in entry.grid.items()}
        about.append(entry.changes)
    return Arm(word.strip("+"), recipe, " ".join(about), grid), (control if matched else None)


def _change(arm: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """What the catalogue says, for a fresh model or for a ready one."""
    if arm.ready is not None and base["model"].get("path") is not None:
        arm = arm.ready
    return {"set": dict(arm.set), "add": {name: list(items) for name, items in arm.add.items()}}


def _needs(arm: Any) -> str:
    return f" (it needs: {', '.join(arm.needs)})" if arm.needs else ""


def design(
    base: Mapping[str, Any],
    words: Sequence[str],
    others: Sequence[Mapping[str, Any]] = (),
    *,
    delta: float | None = None,
    evaluation: str | None = None,
    trials: int = 3,
    pairs: int = 3,
    seeds: int | None = None,
    questions: int | None = None,
) -> Design:
    """What ``vitrail compare BASE +METHOD … OTHER …`` means.

    One method is held against its matched control; several methods, or other recipes, against the base, and then the
    matched controls are context.
    """
    name = evaluation_of(base, evaluation)
    methods: list[Arm] = []
    controls: dict[str, Mapping[str, Any]] = {}
    for word in words:
        arm, matched = method_arm(base, word)
        methods.append(arm)
        if matched is not None:
            controls[arm.name] = matched
    methods += [Arm(_other_name(other, methods), other, str(other.get("about", ""))) for other in others]
    control, context = Arm(str(base["name"]), base, str(base.get("about", ""))), tuple[Arm, ...]()
    if len(methods) == 1 and controls:
        arm_name, recipe = next(iter(controls.items()))
        control = Arm(f"control of {arm_name}", recipe, _about_control(words[0]))
    elif controls:
        context = tuple(Arm(f"control of {arm}", recipe) for arm, recipe in controls.items())
    one = next(one for one in base["evaluation"] if one["name"] == name)
    metric = one["metric"]["name"] if isinstance(one["metric"], Mapping) else one["metric"]
    unit = "nats a token" if metric == "loss" else "share right"
    return Design(
        name=" against ".join([", ".join(arm.name for arm in methods), control.name]),
        control=control,
        methods=tuple(methods),
        context=context,
        evaluation=name,
        delta=DELTAS[unit] if delta is None else delta,
        trials=trials,
        pairs=pairs,
        seeds=seeds,
        questions=questions,
        fresh=asks_anew(base["data"], one["data"]),
        claim=" ".join(arm.about for arm in methods),
    )


def _about_control(word: str) -> str:
    return " ".join(
        entry.control.about
        for name in filter(None, word.split("+"))
        if (entry := paper(name)).control is not None
    )


def _other_name(other: Mapping[str, Any], methods: Sequence[Arm]) -> str:
    name = str(other["name"])
    return name if all(arm.name != name for arm in methods) else f"{name}-2"


def seconds(text: str) -> float:
    """``2h``, ``90m``, ``1h30m``, ``45s`` → seconds. ValueError for anything else."""
    found = re.fullmatch(
        r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?", text.strip()
    )
    if not text.strip() or found is None or not any(found.groups()):
        raise ValueError(f"budget {text!r}: write hours, minutes or seconds, such as 2h, 90m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + rest
    if total <= 0:
        raise ValueError(f"budget {text!r} is no time at all")
    return total

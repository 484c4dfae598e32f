"""The schedule of a stage as a recipe names it: one of transformers' by name, or a component of ours with settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ValidationError, WrapValidator

from vitrail import registry
from vitrail.settings.component import Component
from vitrail.settings.faults import flatten, inner_errors

Usual = Literal["constant", "linear", "cosine", "cosine_with_min_lr", "inverse_sqrt", "wsd"]
"""The schedules of transformers, by name."""
USUAL: tuple[str, ...] = get_args(Usual)


class ScheduleConfig(Component):
    """A schedule of the registry with its settings."""

    seam = "schedule"


def _schedule(value: Any, _: Any) -> Any:
    """One of :data:`USUAL` stays a name; anything else is a component."""
    if isinstance(value, dict) and set(value) == {"name"} and value["name"] in USUAL:
        return value["name"]
    if isinstance(value, ScheduleConfig) or (isinstance(value, str) and value in USUAL):
        return value
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str):
        raise ValueError("must be the name of a schedule, or a mapping with its name and settings")
    known = [*USUAL, *registry.names("schedule")]
    if name not in known:
        path = ("name",) if isinstance(value, dict) else ()
        raise inner_errors([(path, f"no schedule has this name; {registry.nearest(name, known)}", name)])
    if name in USUAL:
        field = next(key for key in value if key != "name")
        raise inner_errors(
            [((field,), f"schedule {name!r} takes no settings here; remove this field", value[field])]
        )
    try:
        return ScheduleConfig.model_validate(value)
    except ValidationError as error:
        raise inner_errors(flatten(error, ScheduleConfig, value)) from None


NamedSchedule = Annotated[Usual | ScheduleConfig, WrapValidator(_schedule)]
"""``cosine``, or ``{name: infinite, anneal: 0.1}``."""

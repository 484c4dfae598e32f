"""What a stage minimises, as a recipe names it: one objective, or a list of several, each with a weight."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, WrapValidator

from vitrail.settings.component import Component
from vitrail.settings.faults import NOTHING, flatten, inner_errors

Kind = TypeVar("Kind", bound=BaseModel)


class ObjectiveConfig(Component):
    """What a stage minimises."""

    seam = "objective"

    @property
    def factor(self) -> float:
        """Its weight among several; 1 where it stands alone."""
        return 1.0


class WeightedObjective(ObjectiveConfig):
    """One of several objectives of a stage: its settings, and ``weight``, its factor in the sum."""

    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    @classmethod
    def _fill(cls, name: str, given: dict[str, Any]) -> dict[str, Any]:
        weight = {"weight": given.pop("weight")} if "weight" in given else {}
        return {**weight, **super()._fill(name, given)}

    @property
    def factor(self) -> float:
        """``weight``."""
        return self.weight


def _one_or_several(value: Any, _: Any) -> ObjectiveConfig | tuple[WeightedObjective, ...]:
    """One objective by name or with settings, or a list of them with weights."""
    if isinstance(value, (list, tuple)):
        return _several(list(value))
    return _checked(ObjectiveConfig, value, ())


def _several(values: list[Any]) -> tuple[WeightedObjective, ...]:
    found = tuple(_checked(WeightedObjective, value, (index,)) for index, value in enumerate(values))
    if not found:
        raise inner_errors([((), "names no objective; give one at least", values)])
    names = [one.name for one in found]
    twice = next((index for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise inner_errors(
            [((twice,), f"the objective {names[twice]!r} is named twice; name it once", NOTHING)]
        )
    if not any(one.factor for one in found):
        raise inner_errors(
            [((), "every objective has weight 0, so nothing would train; give one a weight", NOTHING)]
        )
    return found


def _checked(kind: type[Kind], value: Any, path: tuple[int, ...]) -> Kind:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = flatten(error, kind, value)
        raise inner_errors([((*path, *inner), message, wrong) for inner, message, wrong in found]) from None


OneOrSeveral = Annotated[ObjectiveConfig | tuple[WeightedObjective, ...], WrapValidator(_one_or_several)]
"""``next_token``, ``{name: next_token, z_loss: 1e-4}``, or ``[next_token, {name: llava_kd, weight: 0.5, …}]``."""

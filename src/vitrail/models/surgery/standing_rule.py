"""A surgery whose change is a layer rule that stands in the model.

It adds no parameters and changes none: :meth:`StandingRule.rule` says what holds, and the model holds it in every
forward and ``generate`` (:mod:`vitrail.models.rules.standing`), trained, saved, loaded and scored with. Undo it with
:func:`undo`. A compiled model cannot hold rules.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from vitrail.models.logits import unwrapped
from vitrail.models.rules.rule import Rule
from vitrail.models.rules.standing import stand, standing, withdraw
from vitrail.models.rules.target import Target
from vitrail.models.surgery import operating
from vitrail.models.surgery.surgery import Breakable, Surgery


class StandingRule(Surgery):
    """What such surgeries share: they give ``name`` and :meth:`rule`."""

    name: ClassVar[str]
    breaks: ClassVar[frozenset[Breakable]] = frozenset({"compile"})

    def rule(self, model: Any, record: dict[str, Any]) -> Rule:
        """What is to hold in ``model``; ``record`` is that of :meth:`fresh`. ValueError if settings do not fit it."""
        raise NotImplementedError

    def record(self, model: Any) -> dict[str, Any]:
        """What :meth:`rule` needs beside the settings, as plain JSON."""
        return {}

    def check(self, model: nn.Module) -> None:
        """ValueError if the rule cannot hold in this model, or stands in it already."""
        if self.name in standing(model):
            raise ValueError(f"{self.name} was done to this model already; undo(model, {self.name!r}) first")
        Target.of(model).check(self.rule(model, self.record(model)))

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Let the rule stand."""
        record = self.record(model)
        stand(model, self.name, self.rule(model, record))
        return record

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Nothing: no weight has another shape for it."""

    def after_load(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Let the rule stand again."""
        stand(model, self.name, self.rule(model, record))


def undo(model: nn.Module, name: str) -> None:
    """Take a standing rule out of a model and of its record. ValueError if it does not stand there."""
    inner: Any = unwrapped(model)
    withdraw(inner, name)
    kept = getattr(inner.config, operating.KEY, None) or {}
    left = [entry for entry in kept.get("surgeries", []) if entry["name"] != name]
    setattr(inner.config, operating.KEY, {**kept, "surgeries": left})

"""Studies whose arms are loops: a mock runs two short rounds of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Association, Design

_SHORT = {"rounds": 2, "items": 4, "candidates": 3, "per_round": 4, "max_new_tokens": 6}


@dataclass(frozen=True)
class Looped(Study):
    """A study of a loop. ``mock_loop``: further settings in a mock, where two steps have taught nothing yet."""

    mock_loop: tuple[tuple[str, Any], ...] = ()

    def design(self, testbed: str, mock: bool = False) -> Design | Association:
        """As any study's; in a mock every loop has two rounds that make next to nothing, and nothing is tuned."""
        made = super().design(testbed, mock)
        if not mock or isinstance(made, Association):
            return made
        return replace(
            made,
            control=self._short(made.control),
            methods=tuple(self._short(arm) for arm in made.methods),
            context=tuple(self._short(arm) for arm in made.context),
        )

    def _short(self, arm: Arm) -> Arm:
        loop = arm.recipe.get("loop")
        if loop is None:
            return replace(arm, grid={})
        few = {name: min(loop[name], most) for name, most in _SHORT.items() if loop.get(name) is not None}
        fields = {f"loop.{name}": value for name, value in {**few, **dict(self.mock_loop)}.items()}
        return replace(arm, grid={}, recipe=changed(arm.recipe, {"set": fields}, f"the mock of {arm.name}"))

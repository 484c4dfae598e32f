"""LEGO: follow a chain of variables, each equal to another or its opposite (Zhang et al. 2022, as in Skill-It).

``Input: b = not y, r = val 1, m = val b, q = val m, y = not r. Output: b = `` is answered by 0 or 1. The root has a
value; every other variable is its parent's or the opposite; clauses stand in random order. Skill s asks for the s-th
variable of the chain, so that it needs those before it (arXiv 2307.14430).
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from vitrail.data.puzzles.source import Puzzles

GRAPH = ((1, 0, 0, 0, 0), (0.5, 1, 0.5, 0.5, 0), (0, 0, 1, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 1))
"""The published skills graph of five variables: the second skill helps the first, third and fourth."""


class Lego(Puzzles):
    """Questions of ``skill`` (from 1) about chains of ``variables``."""

    task, options = "lego", ("0", "1")

    def __init__(self, skill: int, n: int, *, variables: int = 5, **settings: Any) -> None:
        if not 2 <= variables <= len(string.ascii_lowercase):
            raise ValueError(f"variables is {variables}; give 2 to {len(string.ascii_lowercase)}")
        if not 1 <= skill <= variables:
            raise ValueError(
                f"skill is {skill}; a chain of {variables} variables has the skills 1 to {variables}"
            )
        self.variables = variables
        super().__init__(skill, n, **settings)

    def _draw(self, rng: np.random.Generator) -> tuple[str, int]:
        names = [string.ascii_lowercase[place] for place in rng.permutation(26)[: self.variables]]
        opposite = rng.integers(0, 2, self.variables)
        clauses, value, values = [f"{names[0]} = val {opposite[0]}"], int(opposite[0]), [int(opposite[0])]
        for place in range(1, self.variables):
            value ^= int(opposite[place])
            values.append(value)
            clauses.append(f"{names[place]} = {'not' if opposite[place] else 'val'} {names[place - 1]}")
        shuffled = [clauses[place] for place in rng.permutation(self.variables)]
        asked = names[self.skill - 1]
        return f"Input: {', '.join(shuffled)}. Output: {asked} =", values[self.skill - 1]

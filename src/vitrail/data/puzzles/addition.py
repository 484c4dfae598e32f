"""Addition: one digit of the sum of two numbers (Skill-It, arXiv 2307.14430).

``A = 4 8 1 + 9 4 0, A 1 = `` asks for the digit of the tens. Skill d is digit d, from the ones; a carry comes from the
digits below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vitrail.data.puzzles.source import Puzzles

GRAPH = ((1, 0, 0), (0.5, 1, 0), (0, 0, 1))
"""The published skills graph of three digits: the second skill helps the first."""


class Addition(Puzzles):
    """Questions of digit ``skill`` (from 0) about numbers of ``digits``."""

    task, options = "addition", tuple("0123456789")

    def __init__(self, skill: int, n: int, *, digits: int = 3, **settings: Any) -> None:
        if digits < 1:
            raise ValueError(f"digits is {digits}; give 1 or more")
        if not 0 <= skill < digits:
            raise ValueError(
                f"skill is {skill}; numbers of {digits} digits have the skills 0 to {digits - 1}"
            )
        self.digits = digits
        super().__init__(skill, n, **settings)

    def _draw(self, rng: np.random.Generator) -> tuple[str, int]:
        one, other = (int(value) for value in rng.integers(0, 10**self.digits, 2))
        spaced = [" ".join(f"{value:0{self.digits}d}") for value in (one, other)]
        return f"A = {spaced[0]} + {spaced[1]}, A {self.skill} =", (one + other) // 10**self.skill % 10

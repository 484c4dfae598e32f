"""Invented names: random lower-case strings that no real class bears (arXiv 2308.07891)."""

from __future__ import annotations

from collections.abc import Collection
from string import ascii_lowercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrail.data.scenes.draws import Draws

SHORTEST, LONGEST = 1, 10


class RandomNamer:
    """Names of ``shortest`` to ``longest`` letters, none of ``taken`` (compared in lower case).

    ValueError for lengths that are none.
    """

    def __init__(self, taken: Collection[str] = (), shortest: int = SHORTEST, longest: int = LONGEST) -> None:
        if not 1 <= shortest <= longest:
            raise ValueError(
                f"names of {shortest} to {longest} letters are none; give 1 ≤ shortest ≤ longest"
            )
        self.taken = {name.lower() for name in taken}
        self.shortest, self.longest = shortest, longest

    def name(self, draws: Draws, apart_from: str = "") -> str:
        """One name; neither it nor ``apart_from`` holds the other, so that an answer can be told to say one of them."""
        for _ in range(1000):
            length = draws.integer(self.shortest, self.longest)
            made = "".join(draws.pick(ascii_lowercase) for _ in range(length))
            if made not in self.taken and not (apart_from and (made in apart_from or apart_from in made)):
                return made
        raise ValueError(
            f"no free name of {self.shortest} to {self.longest} letters was found; let names be longer"
        )

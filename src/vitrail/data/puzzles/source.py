"""What puzzles share: a source of questions in text that depend on (task, skill, fold, seed, index) alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key

Fold = Literal["train", "development", "test"]


class Puzzles(RandomAccess):
    """``n`` different questions of one skill. No question is in two folds: its text alone decides which one it is in.

    As ``conversations`` the right option is the assistant's turn; as ``questions`` it is asked for.
    """

    task: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    root: Path | None = None

    def __init__(self, skill: int, n: int, fold: Fold = "train", seed: int = 0, asked: bool = False) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; give 1 or more")
        self.skill, self.n, self.fold, self.seed, self.asked = skill, n, fold, seed, asked
        self.name = f"{self.task}-{skill}/{fold}/{seed}"
        self.set_aside = SetAside(used=n)
        self._drawn = self._draw_all()
        self.fingerprint = key("puzzles", self.name, n, asked, [text for text, _ in self._drawn])

    def _draw(self, rng: np.random.Generator) -> tuple[str, int]:
        """A question, and the number of the right option."""
        raise NotImplementedError

    def _draw_all(self) -> list[tuple[str, int]]:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, self.skill])))
        found: dict[str, int] = {}
        for text, answer in self._candidates(rng):
            if text not in found and _fold_of(text) == self.fold:
                found[text] = answer
            if len(found) == self.n:
                return list(found.items())
        raise ValueError(
            f"{self.task} with skill {self.skill} has not {self.n} different questions in the fold {self.fold!r}; "
            f"give n={max(len(found), 1)} or fewer"
        )

    def _candidates(self, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        return (self._draw(rng) for _ in range(20 * self.n + 1000))

    def __len__(self) -> int:
        return self.n

    def _record(self, index: int) -> Chat:
        text, answer = self._drawn[index]
        asked = Message(role="user", content=(Text(text=text),))
        meta = {"kind": f"{self.task} {self.skill}", "picture": f"{self.name}/{index}"}
        if self.asked:
            options = tuple((Text(text=option),) for option in self.options)
            return Chat(
                id=f"{self.name}/{index}",
                messages=(asked,),
                choices=Choices(options=options, answer=answer),
                meta=meta,
            )
        said = Message(role="assistant", content=(Text(text=self.options[answer]),))
        return Chat(id=f"{self.name}/{index}", messages=(asked, said), meta=meta)


def _fold_of(text: str) -> Fold:
    place = int(key("puzzle fold", text)[:8], 16) / 16**8
    return "train" if place < 0.7 else "development" if place < 0.85 else "test"

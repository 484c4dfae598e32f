"""What all sources of scenes share: items that depend on (suite, fold, names, seed, index) only."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vitrail.data.records import Record
from vitrail.data.scenes.objects import Scene

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

R = TypeVar("R", bound=Record)


def chosen(kinds: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of question that are asked: those given, or all that are known. ValueError for another, or none."""
    unknown = [kind for kind in kinds or () if kind not in known]
    if unknown or kinds == ():
        raise ValueError(f"kinds has {unknown}; use some of {', '.join(known)}")
    return tuple(kinds or known)


class SceneSource(ABC, Generic[R]):
    """A source with random access whose items depend on their index only."""

    use: str
    root: Path | None = None

    def __init__(self, suite: SceneSuite, fold: str, seed: int, n: int, names: str) -> None:
        if n < 0:
            raise ValueError(f"n is {n}; give 0 or more")
        suite.draws(self.use, fold, names, seed, 0)  # refuses what does not go together
        self.suite, self.fold, self.seed, self.n, self.names = suite, fold, seed, n, names

    @property
    def name(self) -> str:
        """For logs and reports: ``scenes-v1/questions/test/known/0``."""
        return f"{self.suite.name}/{self.use}/{self.fold}/{self.names}/{self.seed}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the items."""
        parts = (self.suite.fingerprint, self.name, self.n, *self._settings())
        return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()

    def _settings(self) -> tuple[Any, ...]:
        return ()

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[R]:
        return (self[index] for index in range(self.n))

    def _checked(self, index: int) -> int:
        if not -self.n <= index < self.n:
            raise IndexError(f"{self.name} has {self.n} items; there is no item {index}")
        return index % self.n

    @abstractmethod
    def __getitem__(self, index: int) -> R: ...

    def _meta(self, index: int, scene: Scene) -> dict[str, Any]:
        return {
            "suite": self.suite.name,
            "fold": self.fold,
            "names": self.names,
            "seed": self.seed,
            "index": index,
            "picture": f"{self.name}/{index}",
            "scene": scene.describe(),
        }

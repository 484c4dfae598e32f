"""The things that a set of scenes is made of, and what may be said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vitrail.data.scenes.wording import Wording, confusable
from vitrail.data.sprites import SpriteLibrary, Thing


@dataclass(frozen=True)
class Pool:
    """The things that scenes are made of, and what may be said of them."""

    library: SpriteLibrary
    names: tuple[str, ...]
    wording: Wording
    named: bool
    """Whether questions and answers may use names."""
    colours: Mapping[str, str | None]
    """The colour that clearly dominates each name's picture."""
    _apart: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) < 8:
            raise ValueError(f"{len(self.names)} names are too few to ask about; give at least 8")

    def things(self, accept: Callable[[Thing], bool] | None = None) -> list[str]:
        """The names whose things are accepted."""
        return [name for name in self.names if accept is None or accept(self.library[name])]

    def apart(self, name: str) -> tuple[str, ...]:
        """The names that nobody could take for ``name``."""
        if name not in self._apart:
            thing = self.library[name]
            self._apart[name] = tuple(self.things(lambda other: not confusable(other, thing)))
        return self._apart[name]

    def kinds(self) -> list[str]:
        """The kinds of the pool's things, sorted."""
        return sorted({self.library[name].kind for name in self.names})

    def referable(self) -> list[str]:
        """Kinds whose noun can point at one thing."""
        return [kind for kind in self.kinds() if self.wording.kind(kind).refer]

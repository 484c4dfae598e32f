"""The things that a set of scenes is made of, and what may be said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from vitrail.data.scenes.wording import Wording, confusable
from vitrail.data.sprites import SpriteLibrary


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

    def __post_init__(self) -> None:
        if len(self.names) < 8:
            raise ValueError(f"{len(self.names)} names are too few to ask about; give at least 8")

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the pool's things, sorted."""
        return tuple(sorted({self.library[name].kind for name in self.names}))

    @cached_property
    def referable(self) -> tuple[str, ...]:
        """Kinds whose noun can point at one thing."""
        return tuple(kind for kind in self.kinds if self.wording.kind(kind).refer)

    @cached_property
    def countable(self) -> tuple[str, ...]:
        """Names that stand for one thing and have a plural; none where names may not be said."""
        things = (self.library[name] for name in self.names if self.named)
        return tuple(thing.name for thing in things if thing.number == "one" and thing.plural)

    @cached_property
    def by_colour(self) -> dict[str, tuple[str, ...]]:
        """Names by the colour that clearly dominates them, colours sorted."""
        words = sorted({colour for name in self.names if (colour := self.colours[name])})
        return {word: tuple(name for name in self.names if self.colours[name] == word) for word in words}

    @cached_property
    def _of(self) -> dict[str, tuple[str, ...]]:
        return {
            kind: tuple(name for name in self.names if self.library[name].kind == kind) for kind in self.kinds
        }

    @cached_property
    def _unlike(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {}

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """The names of a kind."""
        return self._of[kind]

    def unlike_name(self, name: str) -> tuple[str, ...]:
        """The names that nobody could take for ``name``."""
        if ("name", name) not in self._unlike:
            thing = self.library[name]
            self._unlike["name", name] = tuple(
                other for other in self.names if not confusable(self.library[other], thing)
            )
        return self._unlike["name", name]

    def unlike_kind(self, kind: str) -> tuple[str, ...]:
        """The names that nobody could call one of ``kind``."""
        if ("kind", kind) not in self._unlike:
            self._unlike["kind", kind] = tuple(
                other for other in self.names if not self.wording.could_be(self.library[other], kind)
            )
        return self._unlike["kind", kind]

    def alike(self, a: str, b: str) -> bool:
        """Whether two kinds are the same or near each other."""
        return a == b or a in self.wording.kind(b).near or b in self.wording.kind(a).near

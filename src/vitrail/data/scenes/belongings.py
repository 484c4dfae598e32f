"""Things that somebody has names for: from a frozen suite, with invented names, or a folder of one's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vitrail.data.personal import SYLLABLES
from vitrail.data.records import Image
from vitrail.data.scenes.composer import Item, Spec, compose
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.wording import Wording, confusable
from vitrail.data.sprites import SpriteLibrary
from vitrail.data.sprites.folder import Folder
from vitrail.storage.cache import key

KEEPERS = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Greta", "Hugo")
"""Who an invented thing may be kept by."""
FOLDER_SIDE = 224
"""Pixels of a scene of a folder's things; a suite has its own."""
AVATAR = (0.7, 0.9)
"""How large a thing is in a picture of it alone, as a fraction of the side."""


@dataclass(frozen=True)
class NamedThing:
    """What a user calls a thing: ``name``, without angle brackets; ``told``, what is said of it behind its tag.

    ``own_name`` is the library's, by which its picture is found; ``keeper`` is empty where nobody is named.
    """

    name: str
    own_name: str
    told: str
    category: str
    keeper: str = ""

    @property
    def tag(self) -> str:
        """The name between angle brackets."""
        return f"<{self.name}>"

    @property
    def line(self) -> str:
        """The sentence that a memory holds."""
        return f"{self.tag} {self.told}"

    def renamed(self, name: str) -> NamedThing:
        """The same thing under another name."""
        return replace(self, name=name)


@dataclass(frozen=True)
class Belongings:
    """Things that get names (``names``), and things to be called by plain words beside them (``plain``)."""

    library: SpriteLibrary
    names: tuple[str, ...]
    plain: tuple[str, ...]
    wording: Wording
    side: int
    name: str
    folder: Folder | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decides how things look and what is said of them."""
        drawings = self.library.fingerprint_of((*self.names, *self.plain))
        told = [self._told(name) for name in self.names]
        return key("belongings", drawings, list(self.names), self.side, self.wording.model_dump_json(), told)

    def thing(self, name: str, draws: Draws, taken: set[str], syllables: int = 3) -> NamedThing:
        """A thing as its owner calls it: a folder's by its own name, another by an invented one not yet ``taken``."""
        category = self.library[name].kind
        if self.folder is not None:
            return NamedThing(name, name, self._told(name), category)
        called = invented_name(draws, syllables)
        while called in taken:
            called = invented_name(draws, syllables)
        taken.add(called)
        keeper = draws.pick(KEEPERS)
        return NamedThing(called, name, f"{self._told(name)}, kept by {keeper}.", category, keeper)

    def _told(self, name: str) -> str:
        kind = self.library[name].kind
        if self.folder is None:
            return f"is {self.wording.kind(kind).answer}"
        line = self.folder.line(name).removeprefix(f"<{name}>").strip()
        return line or f"is one of {kind}."

    def avatar(self, name: str, view: int | None = None) -> Image:
        """A picture of the thing alone; ``view`` None is the one that is remembered, others are turned and mirrored."""
        draws = Draws("avatar", self.name, name, -1 if view is None else view)
        turn = 0 if view is None else 15
        spec = Spec((Item(name),), side=self.side, sizes=AVATAR, turn=turn, flips=view is not None)
        return compose(self.library, spec, draws).image()

    def unlike(self, names: Sequence[str], others: Sequence[str]) -> list[str]:
        """Those of ``names`` that nobody could take for one of ``others``."""
        things = [self.library[name] for name in others]
        return [name for name in names if not any(confusable(self.library[name], one) for one in things)]


def invented_name(draws: Draws, syllables: int = 3) -> str:
    """Syllables that mean nothing."""
    return "".join(draws.pick(SYLLABLES) for _ in range(syllables)).capitalize()


def belongings(things: str, names: str, fold: str) -> Belongings:
    """Those of a suite (by name, or the path of its file), or of a folder of pictures.

    ValueError for neither, for names of a suite that are not for ``fold``, or for a folder of fewer than two pictures.
    """
    if Path(things).is_dir():
        library = Folder(Path(things))
        if len(library) < 2:
            raise ValueError(f"{things} holds one picture; named things are told apart, so give two or more")
        return Belongings(library, library.names, (), Wording(), FOLDER_SIDE, library.name, library)
    from vitrail.data.scenes import suite

    found = suite(things)
    found.draws("named things", fold, names, 0, 0)  # refuses what does not go together
    known = found.names("known")
    config = found.config
    return Belongings(found.library, found.names(names), known, config.wording, config.side, found.name)

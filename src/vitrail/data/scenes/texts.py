"""Texts about scenes, without their pictures: what is where, then questions to it with their answers.

What a scene holds is chance, and no model can know it. What is asked then is answered by what stands above, so that a
language model which learns to look it up has a lower loss than one that knows the words alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.data.records import Document, Text
from vitrail.data.scenes.chats import Conversations
from vitrail.data.scenes.source import SceneSource

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite


class SceneTexts(SceneSource[Document]):
    """A document a scene: ``n`` of them, of a fold's scenes that no other source shares.

    ``turns`` bounds the exchanges behind the description, ``kinds`` restricts them (default: the suite's own). The
    names are spoken, so that ``names`` must be those of training. ValueError for others.
    """

    use = "texts"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str = "train",
        seed: int = 0,
        n: int = 4000,
        names: str = "known",
        turns: tuple[int, int] | None = None,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        if not suite.pool(names).named:
            raise ValueError(
                f"names {names!r} are never spoken, and a text speaks them; use 'known' or 'helpers'"
            )
        super().__init__(suite, fold, seed, n, names)
        self._chats = _Chats(suite, fold, seed, n, names, turns or suite.config.turns, kinds)

    def _settings(self) -> tuple[Any, ...]:
        return self._chats._settings()

    def __getitem__(self, index: int) -> Document:
        """``top left: red lobster. center: cow.``, and a line an exchange: ``Where is the cow? center``."""
        index = self._checked(index)
        chat = self._chats[index]
        lines = [described(self.suite, chat.meta["scene"]["objects"])]
        for asked, answered in zip(chat.messages[::2], chat.messages[1::2], strict=True):
            lines.append(f"{asked.text} {answered.text}")
        meta = {**chat.meta, "kind": "text", "picture": f"{self.name}/{index}"}
        return Document(id=f"{self.name}/{index}", content=(Text(text="\n".join(lines)),), meta=meta)


class _Chats(Conversations):
    use = "texts"


def described(suite: SceneSuite, objects: list[dict[str, Any]]) -> str:
    """What a scene holds, in reading order: the cell of each thing, its colour where it has a sure one, its name."""
    parts = []
    for one in sorted(objects, key=lambda one: (one["box"][1] + one["box"][3], one["box"][0])):
        name = suite.library[one["name"]].name
        colour = "" if one["colour"] is None or one["colour"] in name.split() else f"{one['colour']} "
        parts.append(f"{one['cell']}: {colour}{name}.")
    return " ".join(parts)

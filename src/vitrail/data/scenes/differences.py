"""Which change turned one picture into the other? A multiple-choice question about two pictures of one scene.

MIBench's *subtle difference* (arXiv 2407.15272) with exact truth: the right option is the change that was made
(:mod:`vitrail.data.scenes.documents`), the others are changes that could have been made to this scene and were not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.scenes.documents import CHANGES, Change, make_change, speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.source import SceneSource, chosen
from vitrail.data.sprites.colours import SHADES

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

QUESTION = "What is different in the second picture?"
OPTIONS = 4


class Differences(SceneSource[Chat]):
    """``n`` questions, kinds of change (default all) in turn; ``meta["kind"]`` is the kind."""

    use = "differences"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        self.pool, self.kinds = speakable(suite, names), chosen(kinds, CHANGES)

    def _settings(self) -> tuple[str, ...]:
        return self.kinds if self.kinds != CHANGES else ()

    def change(self, index: int) -> Change:
        """Both scenes of item ``index``, and what differs."""
        return self._made(self._checked(index))[0]

    def _made(self, index: int) -> tuple[Change, Draws]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        kind: Any = self.kinds[index % len(self.kinds)]
        return make_change(kind, self.pool, self.suite.config.side, draws), draws

    def __getitem__(self, index: int) -> Chat:
        """Two pictures and the question."""
        index = self._checked(index)
        change, draws = self._made(index)
        wrong = draws.sample(self._unmade(change), OPTIONS - 1)
        options = draws.shuffled([change.text, *wrong])
        name = f"{self.name}/{index}"
        meta = {**self._meta(index, change.before), "kind": change.kind, "change": change.describe()}
        pictures = (change.before.image(), change.after.image())
        return Chat(
            id=name,
            messages=(Message(role="user", content=(*pictures, Text(text=QUESTION))),),
            choices=Choices(
                options=tuple((Text(text=one),) for one in options), answer=options.index(change.text)
            ),
            meta=meta,
        )

    def _unmade(self, change: Change) -> list[str]:
        """Changes of this scene that did not happen, in the words of those that do."""
        texts: list[str] = []
        for scene, moment in ((change.before, "before"), (change.after, "after")):
            for place, item in enumerate(scene.objects):
                meant = place == (change.index_before if moment == "before" else change.index_after)
                is_, has = ("are", "have") if item.thing.number == "several" else ("is", "has")
                phrase = item.thing.phrase[0].upper() + item.thing.phrase[1:]
                if moment == "before" and not (meant and change.kind == "removed"):
                    texts.append(f"The {item.name} {is_} gone.")
                if moment == "after" and not (meant and change.kind == "added"):
                    texts.append(f"{phrase} {has} appeared.")
                if moment == "before" and not (meant and change.kind == "moved"):
                    where = f" to the {item.place}" if item.place else ""
                    texts.append(f"The {item.name} {has} moved{where}.")
                if moment == "before" and not (meant and change.kind == "recoloured"):
                    shade = next(word for word in SHADES if word not in (item.colour, scene.background))
                    texts.append(f"The {item.name} {is_} now {shade}.")
        return [text for text in dict.fromkeys(texts) if text != change.text]

"""Which change turned one picture into the other? A multiple-choice question about two pictures of one scene.

MIBench's *subtle difference* (arXiv 2407.15272) with exact truth: the right option is the change that was made
(:mod:`vitrail.data.scenes.documents`), the others are changes that could have been made to this scene and were not.

Where some kinds of change are asked alone, the form of an option tells which it is. Asked for the ``thing`` that was
changed, the options are all things of the fuller picture, so that words tell nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.scenes.documents import CHANGES, Change, make_change, speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.source import SceneSource, chosen
from vitrail.data.sprites.colours import SHADES

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

QUESTION = "What is different in the second picture?"
OF_THINGS = {
    "added": "Which thing is new in the second picture?",
    "removed": "Which thing is gone from the second picture?",
    "moved": "Which thing is at another place in the second picture?",
    "recoloured": "Which thing has another color in the second picture?",
}
OPTIONS = 4
Asked = Literal["change", "thing"]


class Differences(SceneSource[Chat]):
    """``n`` questions, kinds of change (default all) in turn; ``meta["kind"]`` is the kind.

    ``asked``: which ``change`` was made, or which ``thing`` was changed.
    """

    use = "differences"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        kinds: tuple[str, ...] | None = None,
        asked: Asked = "change",
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        self.pool, self.kinds, self.asked = speakable(suite, names), chosen(kinds, CHANGES), asked

    def _settings(self) -> tuple[str, ...]:
        kinds = self.kinds if self.kinds != CHANGES else ()
        return kinds if self.asked == "change" else (self.asked, *kinds)

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
        if self.asked == "thing":
            question, right, wrong = OF_THINGS[change.kind], *_things(change)
        else:
            question, right = QUESTION, change.text
            wrong = draws.sample(self._unmade(change), OPTIONS - 1)
        options = draws.shuffled([right, *wrong])
        name = f"{self.name}/{index}"
        meta = {**self._meta(index, change.before), "kind": change.kind, "change": change.describe()}
        pictures = (change.before.image(), change.after.image())
        return Chat(
            id=name,
            messages=(Message(role="user", content=(*pictures, Text(text=question))),),
            choices=Choices(options=tuple((Text(text=one),) for one in options), answer=options.index(right)),
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


def _things(change: Change) -> tuple[str, list[str]]:
    """What the changed thing is called, and the others of the picture that holds it."""
    scene, index = (change.before, change.index_before)
    if index is None:
        scene, index = change.after, change.index_after
    return scene.objects[index or 0].thing.phrase, [
        item.thing.phrase for place, item in enumerate(scene.objects) if place != index
    ]

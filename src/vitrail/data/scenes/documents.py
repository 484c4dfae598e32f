"""More than one picture: interleaved documents, and pairs before and after one exact change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.records import Chat, Content, Document, Group, Message, Text
from vitrail.data.scenes.captions import caption
from vitrail.data.scenes.composer import Item, Placement, Spec, compose, paint
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene, SceneObject
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.source import SceneSource
from vitrail.data.sprites.colours import SHADES

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

ChangeKind = Literal["added", "removed", "moved", "recoloured"]
CHANGES: tuple[ChangeKind, ...] = ("added", "removed", "moved", "recoloured")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_MOVE = 0.3
"""A moved thing moves by at least this fraction of the picture's side."""


def free_scene(pool: Pool, side: int, count: int, draws: Draws) -> Scene:
    """``count`` different things of the pool, anywhere."""
    names = draws.sample(pool.names, count)
    return compose(pool.library, Spec(tuple(Item(name) for name in names), side=side), draws)


class Documents(SceneSource[Document]):
    """Two to four pictures, each between its number and its caption, and a sentence that compares them.

    In a share ``shuffled`` of the documents the pictures change places among each other and the texts stay (the test
    of the Multimodal Textbook, arXiv 2501.00958, for whether order and ties of pictures and texts are used).
    """

    use = "documents"

    def __init__(
        self, suite: SceneSuite, fold: str, seed: int, n: int, names: str, shuffled: float = 0.0
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if not 0 <= shuffled <= 1:
            raise ValueError(f"shuffled is {shuffled}; give a share from 0 to 1")
        self.pool, self.shuffled = speakable(suite, names), shuffled

    def _settings(self) -> tuple[Any, ...]:
        return (self.shuffled,) if self.shuffled else ()

    def _shown(self, index: int, count: int) -> list[int]:
        """Which picture stands in each place."""
        draws = Draws("shuffled pictures", self.name, index)
        order = list(range(count))
        return draws.shuffled(order) if draws.chance(self.shuffled) else order

    def _composed(self, index: int) -> tuple[list[Scene], Draws]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        config = self.suite.config
        counts = [draws.integer(1, config.most) for _ in range(draws.integer(2, 4))]
        return [free_scene(self.pool, config.side, count, draws) for count in counts], draws

    def scenes(self, index: int) -> list[Scene]:
        """The scenes of item ``index``, masks included."""
        return self._composed(self._checked(index))[0]

    def __getitem__(self, index: int) -> Document:
        """Text, picture, caption, text, picture, caption, …, comparison."""
        index = self._checked(index)
        scenes, draws = self._composed(index)
        content: list[Content] = []
        for number, (scene, shown) in enumerate(zip(scenes, self._shown(index, len(scenes)), strict=True)):
            text = caption(scene, self.suite.config.wording, draws)
            picture = scenes[shown].image()
            content += [Text(text=f"Picture {number + 1}: "), picture, Text(text=f" {text}\n")]
        content.append(Text(text=comparison(scenes)))
        meta = {**self._meta(index, scenes[0]), "scenes": [scene.describe() for scene in scenes]}
        return Document(id=f"{self.name}/{index}", content=tuple(content), meta=meta)


def comparison(scenes: Sequence[Scene]) -> str:
    """A sentence about several pictures: which holds the most things, or that none does."""
    counts = [len(scene.objects) for scene in scenes]
    if counts.count(max(counts)) == 1:
        return f"The {_ORDINALS[counts.index(max(counts))]} picture holds the most things."
    return "No picture holds more things than all the others."


@dataclass(frozen=True)
class Change:
    """One thing is different from ``before`` to ``after``; ``text`` says what.

    ``index_before`` and ``index_after`` are its indices in the two scenes; None where it is not there.
    """

    kind: ChangeKind
    before: Scene
    after: Scene
    index_before: int | None
    index_after: int | None
    text: str

    def describe(self) -> dict[str, Any]:
        """The exact change as plain JSON values: what, and the thing's boxes on both sides."""
        sides = ((self.before, self.index_before), (self.after, self.index_after))
        boxes = [None if index is None else list(scene.objects[index].box) for scene, index in sides]
        return {
            "kind": self.kind,
            "text": self.text,
            "index_before": self.index_before,
            "index_after": self.index_after,
            "box_before": boxes[0],
            "box_after": boxes[1],
            "before": self.before.describe(),
            "after": self.after.describe(),
        }


class Changes(SceneSource[Group]):
    """Pairs of pictures with one change; kinds of change in turn."""

    use = "changes"

    def __init__(
        self, suite: SceneSuite, fold: str, seed: int, n: int, names: str, kinds: Sequence[ChangeKind]
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        unknown = [kind for kind in kinds if kind not in CHANGES]
        if unknown or not kinds:
            raise ValueError(f"kinds has {unknown}; use some of {', '.join(CHANGES)}")
        self.pool, self.kinds = speakable(suite, names), tuple(kinds)

    def _settings(self) -> tuple[Any, ...]:
        return self.kinds

    def change(self, index: int) -> Change:
        """Both scenes of item ``index``, masks included, and what differs."""
        index = self._checked(index)
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        return make_change(self.kinds[index % len(self.kinds)], self.pool, self.suite.config.side, draws)

    def __getitem__(self, index: int) -> Group:
        """The two pictures as items of the relation ``before_after``; ``meta["change"]`` is the truth."""
        index, change = self._checked(index), self.change(index)
        return Group(
            id=f"{self.name}/{index}",
            relation="before_after",
            items=((change.before.image(),), (change.after.image(),)),
            meta={**self._meta(index, change.before), "change": change.describe()},
        )

    def chat(self, index: int) -> Chat:
        """The same pair as a conversation: two pictures, "What changed …?", and the answer."""
        index, change = self._checked(index), self.change(index)
        draws = Draws("ask", self.name, index)
        question = draws.pick(self.suite.config.wording.templates["change"])
        pictures = (change.before.image(), change.after.image())
        return Chat(
            id=f"{self.name}/{index}",
            messages=(
                Message(role="user", content=(*pictures, Text(text=question))),
                Message(role="assistant", content=(Text(text=change.text),)),
            ),
            meta={**self._meta(index, change.before), "change": change.describe()},
        )


def make_change(kind: ChangeKind, pool: Pool, side: int, draws: Draws) -> Change:
    """A scene of two to four things, and the same scene after one change of ``kind``."""
    scene = free_scene(pool, side, draws.integer(2, 4), draws)
    index = draws.integer(0, len(scene.objects) - 1)
    target = scene.objects[index]
    is_, has = ("are", "have") if target.thing.number == "several" else ("is", "has")
    if kind in ("added", "removed"):
        fewer = _painted(pool, scene, [p for i, p in enumerate(scene.placements) if i != index])
        if kind == "removed":
            return Change(kind, scene, fewer, index, None, f"{_the(target)} {is_} gone.")
        return Change(kind, fewer, scene, None, index, f"{_a(target)} {has} appeared.")
    if kind == "moved":
        after = _moved(pool, scene, index, draws)
        where = after.objects[index].place
        end = f" to the {where}" if where else ""
        return Change(kind, scene, after, index, index, f"{_the(target)} {has} moved{end}.")
    taken = {target.colour, scene.background}
    word = draws.pick([word for word in SHADES if word not in taken])
    placements = _with(scene, index, replace(scene.placements[index], colour=word))
    return Change(
        kind, scene, _painted(pool, scene, placements), index, index, f"{_the(target)} {is_} now {word}."
    )


def _with(scene: Scene, index: int, placement: Placement) -> list[Placement]:
    return [placement if i == index else other for i, other in enumerate(scene.placements)]


def _painted(pool: Pool, scene: Scene, placements: Sequence[Placement]) -> Scene:
    assert scene.backdrop is not None
    return paint(pool.library, placements, scene.backdrop, scene.background)


def _moved(pool: Pool, scene: Scene, index: int, draws: Draws) -> Scene:
    """The scene with one thing elsewhere: where it hides least of the others, the first good one of many."""
    best: tuple[float, Scene] | None = None
    x1, y1, x2, y2 = scene.objects[index].box
    half_x, half_y = (x2 - x1) / 2, (y2 - y1) / 2
    old = scene.placements[index]
    for _ in range(200):
        x, y = draws.uniform(half_x, scene.side - half_x), draws.uniform(half_y, scene.side - half_y)
        if max(abs(x - old.x), abs(y - old.y)) < _MOVE * scene.side:
            continue
        after = _painted(pool, scene, _with(scene, index, replace(old, x=x, y=y)))
        seen = min(item.visible for item in after.objects)
        if best is None or seen > best[0]:
            best = seen, after
        if seen > 0.8:
            break
    if best is None:
        raise ValueError(f"{old.name!r} fills the picture and cannot move; use smaller things")
    return best[1]


def _the(item: SceneObject) -> str:
    return f"The {item.name}"


def _a(item: SceneObject) -> str:
    phrase = item.thing.phrase
    return phrase[0].upper() + phrase[1:]


def speakable(suite: SceneSuite, names: str) -> Pool:
    """The pool of names that captions may say."""
    pool = suite.pool(names)
    if not pool.named:
        raise ValueError(
            f"names {names!r} are held out, and captions would say them; use 'known' or 'helpers'"
        )
    return pool

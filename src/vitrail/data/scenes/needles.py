"""In which picture, row and column is this thing? Or is it nowhere? MMNeedle's question with exact truth.

``images`` pictures of ``cells`` × ``cells`` scenes with one thing each (:mod:`vitrail.data.haystacks`); in turn a thing
that is in one of them, and one that is in none. Options are all places and −1.

For models that are far from that, the parts of it can be asked one by one (:data:`PARTS`): whether the thing is there
(*existence*, yes and no in turn), which picture shows it (*index*), in which row and in which column of its picture it
is (*row*, *column*). Or the question is turned round: which of four things is there at all (*which*), and which of
those that are there is in a given cell (*cell*). So MMNeedle's abilities are told apart, and none of them has an answer
that another one's excludes.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from vitrail.data.haystacks import stitch
from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.data.scenes.documents import free_scene, speakable
from vitrail.data.scenes.source import SceneSource, chosen
from vitrail.data.scenes.wording import confusable

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

TRIES = 400
OPTIONS = 4
KINDS = ("needle", "no needle")
PARTS = ("existence", "index", "row", "column")
"""Kinds that ask for one part of the place; by name alone."""
TURNED = ("which", "cell")
"""Kinds that ask for the thing; by name alone."""
ORDINALS = ("first", "second", "third", "fourth", "fifth")
_LINES = {"row": ("top", "bottom"), "column": ("left", "right")}


class Needles(SceneSource[Chat]):
    """``n`` questions, ``kinds`` (default :data:`KINDS`) in turn; ``meta["kind"]`` is the kind.

    ValueError for a part that has one answer alone, or more pictures or lines than there are words for.
    """

    use = "needles"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        images: int = 2,
        cells: int = 2,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        self.kinds = chosen(kinds, (*KINDS, *PARTS, *TURNED)) if kinds is not None else KINDS
        self.pool, self.images, self.cells = speakable(suite, names), images, cells
        if images < 1 or cells < 1:
            raise ValueError(f"images is {images} and cells {cells}; both must be 1 or more")
        if "index" in self.kinds and not 2 <= images <= len(ORDINALS):
            raise ValueError(f"kinds has 'index' and images is {images}; it can be 2 to {len(ORDINALS)}")
        if set(_LINES) & set(self.kinds) and cells != 2:
            raise ValueError(
                f"kinds has rows or columns and cells is {cells}; top and bottom, left and right are 2"
            )
        if len(self.pool.names) < images * cells**2 + 1:
            raise ValueError(
                f"{images} × {cells}² cells and an absent thing need as many things; {suite.name} has "
                f"{len(self.pool.names)}"
            )

    def _settings(self) -> tuple[Any, ...]:
        return self.images, self.cells, *(self.kinds if self.kinds != KINDS else ())

    def __getitem__(self, index: int) -> Chat:
        """The pictures, the question, and every place as an option."""
        index = self._checked(index)
        m, n = self.images, self.cells
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        things, scenes = self._distinct(draws, m * n * n)
        kind = self.kinds[index % len(self.kinds)]
        place = draws.integer(0, m * n * n - 1)
        there = kind not in ("no needle", "existence") or (
            kind == "existence" and index // len(self.kinds) % 2 == 0
        )
        thing = things[place] if there else self._absent(draws, things)
        spot = (place // (n * n), place % (n * n) // n, place % n)
        if kind in PARTS:
            text, options, answer = self._part(kind, thing, spot, there)
            groups: dict[str, Any] = {"part": kind}
        elif kind in TURNED:
            text, options, answer = self._turned(kind, things, spot, place, draws)
            groups = {"part": kind}
        else:
            text, options, answer = self._whole(thing, place, there)
            where = dict(zip(("depth", "row", "col"), spot, strict=True)) if there else {}
            groups = {"there": there, "m": m, "n": n, "k": 1, **where}
        pictures = [self._stitched(scenes[i * n * n : (i + 1) * n * n]) for i in range(m)]
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(*pictures, Text(text=text))),),
            choices=Choices(options=tuple((Text(text=one),) for one in options), answer=answer),
            meta={**self._meta(index, scenes[place]), "kind": kind, "groups": groups},
        )

    def _whole(self, thing: Any, place: int, there: bool) -> tuple[str, list[str], int]:
        """Question, options and the right one's place, as MMNeedle asks."""
        m, n = self.images, self.cells
        options = [f"{i + 1}, {r + 1}, {c + 1}" for i in range(m) for r in range(n) for c in range(n)]
        options.append("-1")
        text = (
            f"Each picture has {n} rows and {n} columns. Where is {thing.phrase}? Answer with picture, row, column, "
            f"or -1 "
            "if it is nowhere."
        )
        return text, options, place if there else len(options) - 1

    def _part(
        self, kind: str, thing: Any, spot: tuple[int, int, int], there: bool
    ) -> tuple[str, list[str], int]:
        """The same of a part of the place."""
        is_ = "are" if thing.number == "several" else "is"
        depth, row, col = spot
        if kind == "existence":
            where = "the picture" if self.images == 1 else "one of the pictures"
            return f"{is_.capitalize()} there {thing.phrase} in {where}?", ["yes", "no"], 0 if there else 1
        if kind == "index":
            words = [f"the {word}" for word in ORDINALS[: self.images]]
            return f"Which picture shows {thing.phrase}?", words, depth
        at = row if kind == "row" else col
        return f"In which {kind} {is_} the {thing.name}?", list(_LINES[kind]), at

    def _turned(
        self, kind: str, things: list[Any], spot: tuple[int, int, int], place: int, draws: Any
    ) -> tuple[str, list[str], int]:
        """The same of the thing: among three that are nowhere, or among all that are there."""
        if kind == "which":
            text, wrong = "Which of these things is there?", list[Any]()
            while len(wrong) < OPTIONS - 1:
                wrong.append(self._absent(draws, [*things, *wrong]))
        else:
            depth, row, col = spot
            picture = "" if self.images == 1 else f"picture {depth + 1}, "
            text = f"Which thing is in {picture}row {row + 1}, column {col + 1}?"
            wrong = [thing for other, thing in enumerate(things) if other != place]
        options = draws.shuffled([one.phrase for one in (things[place], *wrong)])
        return text, options, options.index(things[place].phrase)

    def _distinct(self, draws: Any, count: int) -> tuple[list[Any], list[Any]]:
        """Scenes of one thing each, no two of which can be taken for each other."""
        things: list[Any] = []
        scenes: list[Any] = []
        for _ in range(TRIES):
            scene = free_scene(self.pool, self.suite.config.side, 1, draws)
            thing = scene.objects[0].thing
            if not any(confusable(thing, other) for other in things):
                things.append(thing)
                scenes.append(scene)
            if len(things) == count:
                return things, scenes
        raise ValueError(
            f"{self.suite.name} has too few unlike things for {count} cells; lower images or cells"
        )

    def _absent(self, draws: Any, things: list[Any]) -> Any:
        others = [self.pool.library[name] for name in self.pool.names]
        clear = [one for one in others if not any(confusable(one, thing) for thing in things)]
        if not clear:
            raise ValueError(
                f"{self.suite.name} has no thing that is unlike all shown; lower images or cells"
            )
        return draws.pick(clear)

    def _stitched(self, scenes: list[Any]) -> Image:
        side = self.suite.config.side
        canvas = stitch([scene.image().open() for scene in scenes], self.cells, side)
        buffer = io.BytesIO()
        canvas.save(buffer, "PNG")
        return Image(bytes=buffer.getvalue(), width=canvas.width, height=canvas.height)

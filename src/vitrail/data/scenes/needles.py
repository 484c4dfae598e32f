"""In which picture, row and column is this thing? Or is it nowhere? MMNeedle's question with exact truth.

``images`` pictures of ``cells`` × ``cells`` scenes with one thing each (:mod:`vitrail.data.haystacks`); in turn a thing
that is in one of them, and one that is in none. Options are all places and −1.
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
KINDS = ("needle", "no needle")


class Needles(SceneSource[Chat]):
    """``n`` questions, ``kinds`` (default both) in turn; ``meta["kind"]`` is ``needle`` or ``no needle``."""

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
        self.kinds = chosen(kinds, KINDS)
        self.pool, self.images, self.cells = speakable(suite, names), images, cells
        if images < 1 or cells < 1:
            raise ValueError(f"images is {images} and cells {cells}; both must be 1 or more")
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
        there = kind == "needle"
        place = draws.integer(0, m * n * n - 1)
        options = [f"{i + 1}, {r + 1}, {c + 1}" for i in range(m) for r in range(n) for c in range(n)]
        options.append("-1")
        thing = things[place] if there else self._absent(draws, things)
        pictures = [self._stitched(scenes[i * n * n : (i + 1) * n * n]) for i in range(m)]
        text = (
            f"Each picture has {n} rows and {n} columns. Where is {thing.phrase}? Answer with picture, row, column, "
            f"or -1 "
            "if it is nowhere."
        )
        spot = {"depth": place // (n * n), "row": place % (n * n) // n, "col": place % n} if there else {}
        meta = {
            **self._meta(index, scenes[place]),
            "kind": kind,
            "groups": {"there": there, "m": m, "n": n, "k": 1, **spot},
        }
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(*pictures, Text(text=text))),),
            choices=Choices(
                options=tuple((Text(text=one),) for one in options),
                answer=place if there else len(options) - 1,
            ),
            meta=meta,
        )

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

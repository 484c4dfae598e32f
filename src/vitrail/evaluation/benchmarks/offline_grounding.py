"""Boxes of what a text means in either, both or neither of two scenes, without files: MC-Bench's task composed.

``vitrail eval MODEL --benchmark offline_grounding form=pixels``. What is asked for, read and scored is MC-Bench's
(:mod:`vitrail.evaluation.benchmarks.mc_bench`). It is asked by name, not by ``--suite offline``: an answer is a list of
boxes in words, which a model must have learnt to write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vitrail.data.records import Chat, Message, Text
from vitrail.data.scenes.documents import speakable
from vitrail.data.scenes.grounding import KINDS, PLACES, STYLES, GroundingPair, make_pair
from vitrail.data.scenes.source import SceneSource, chosen
from vitrail.evaluation.benchmarks.mc_bench import FORMS, PROMPT, MCBench, pair_figures
from vitrail.evaluation.benchmarks.offline import Composed
from vitrail.evaluation.box_answers import Form, written
from vitrail.evaluation.figures import Figure, Rows
from vitrail.evaluation.grounding_pairs import Box

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite


class GroundingPairs(SceneSource[Chat]):
    """``n`` questions, ``kinds`` (default all) in turn, whose answers are boxes in ``form``.

    ``meta["kind"]`` is the kind; ``meta["groups"]`` holds what MC-Bench's metrics need, and the style.
    """

    use = "grounding"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        form: Form,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        self.pool, self.form = speakable(suite, names), form
        self.kinds = chosen(kinds, KINDS)

    def _settings(self) -> tuple[Any, ...]:
        return self.form, *(self.kinds if self.kinds != KINDS else ())

    def pair(self, index: int) -> GroundingPair:
        """The scenes of item ``index``, masks included, its text and targets."""
        index = self._checked(index)
        kind = self.kinds[index % len(self.kinds)]
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        config = self.suite.config
        where = draws.pick(PLACES[kind])
        return make_pair(kind, where, self.pool, config.side, config.most, draws)

    def __getitem__(self, index: int) -> Chat:
        """Two pictures and what to locate; the assistant's turn is the right answer."""
        index = self._checked(index)
        made = self.pair(index)
        sizes = [[scene.side, scene.side] for scene in made.scenes]
        boxes = [Box(image, (float(x1), float(y1), float(x2 - x1), float(y2 - y1)), group)
                 for image, (x1, y1, x2, y2), group in made.targets]  # fmt: skip
        answer = [written(box, (sizes[box.image][0], sizes[box.image][1]), self.form) for box in boxes]
        question = PROMPT.format(text=made.text, form=FORMS[self.form])
        pictures = (made.scenes[0].image(), made.scenes[1].image())
        groups = {
            "style": STYLES[made.kind],
            "positive": bool(boxes),
            "images": [2 * index, 2 * index + 1],
            "sizes": sizes,
            "form": self.form,
            "boxes": [[box.image, *box.xywh, box.group] for box in boxes],
        }
        told = {"kind": made.kind, "text": made.text, "second": made.scenes[1].describe(), "groups": groups}
        return Chat(
            id=f"{self.name}/{index}",
            messages=(
                Message(role="user", content=(*pictures, Text(text=question))),
                Message(role="assistant", content=(Text(text=json.dumps(answer)),)),
            ),
            meta={**self._meta(index, made.scenes[0]), **told},
        )


class OfflineGrounding(Composed):
    """Which things in which of two pictures does this text mean, and where? As MC-Bench asks."""

    name = "offline_grounding"
    title = "Boxes in pairs of scenes"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = MCBench.modes
    notes = MCBench.notes
    submits = MCBench.submits

    class Config(Composed.Config):
        """``form``: of the boxes that the model is asked for."""

        names: Literal["known"] = "known"
        form: Literal["pixels", "unit", "thousandths"] = "thousandths"

    def composed(self) -> Any:
        """Kinds of text in turn."""
        c = self.config
        return GroundingPairs(self.scenes, c.fold, c.seed, c.n, c.names, c.form, c.kinds)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As MC-Bench's, by style and by kind of text."""
        return pair_figures(rows, ("style", "kind"))

    @classmethod
    def submission(cls, rows: Rows) -> Any:
        """COCO's result list."""
        return MCBench.submission(rows)

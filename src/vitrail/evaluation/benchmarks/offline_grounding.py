"""Boxes of what a text means in either, both or neither of two scenes, without files: MC-Bench's task composed.

``vitrail eval MODEL --benchmark offline_grounding form=pixels``. What is asked for, read and scored is MC-Bench's
(:mod:`vitrail.evaluation.benchmarks.mc_bench`). It is asked by name, not by ``--suite offline``: an answer is a list of
boxes in words, which a model must have learnt to write.

For models that write no boxes, parts of the task are asked with options (``asked``): ``pictures``, which of the two
hold a target (MC-Bench's image-level accuracy); ``how many`` of them do, every number equally often; and ``half``, in
which half of its picture the one target is (coarse boxes), of kinds of text that can mean one thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.scenes.documents import speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.grounding import (
    BOTH,
    FIRST,
    KINDS,
    NEITHER,
    PLACES,
    SECOND,
    STYLES,
    GroundingPair,
    Where,
    make_pair,
)
from vitrail.data.scenes.objects import CORNER_MARGIN
from vitrail.data.scenes.source import SceneSource, chosen
from vitrail.evaluation.benchmarks.mc_bench import FORMS, PROMPT, MCBench, pair_figures
from vitrail.evaluation.benchmarks.offline import PLAIN, Composed
from vitrail.evaluation.box_answers import Form, written
from vitrail.evaluation.figures import Figure, Rows, accuracy, by
from vitrail.evaluation.grounding_pairs import Box

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite


Asked = Literal["boxes", "pictures", "how many", "half"]
HOLDING = {BOTH: "both", FIRST: "the first", SECOND: "the second", NEITHER: "neither"}
"""Options of which pictures hold a target."""
NUMBERS = ("zero", "one", "two")
HALVES = ("left", "right")
HALVED = {"half: one": "one", "half: odd": "odd"}
"""Kinds that ask for halves, of texts that can mean one thing."""
_TRIES = 400


class GroundingPairs(SceneSource[Chat]):
    """``n`` questions, ``kinds`` (default all that can be asked for) in turn, whose answers are boxes in ``form``.

    ``asked`` otherwise than for ``boxes`` they have options instead. ``most`` things a picture (default: the suite's).
    ``meta["kind"]`` is the kind, one of :data:`HALVED` where halves are asked; of boxes ``meta["groups"]`` holds what
    MC-Bench's metrics need, and the style. ValueError for a kind that halves cannot be asked of.
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
        asked: Asked = "boxes",
        most: int | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        self.pool, self.form, self.asked, self.most = speakable(suite, names), form, asked, most
        self.kinds = chosen(kinds, tuple(HALVED) if asked == "half" else KINDS)

    def _settings(self) -> tuple[Any, ...]:
        how = () if self.asked == "boxes" else (self.asked,)
        most = () if self.most is None else (f"most {self.most}",)
        return self.form, *(self.kinds if self.kinds != KINDS else ()), *how, *most

    def pair(self, index: int) -> GroundingPair:
        """The scenes of item ``index``, masks included, its text and targets."""
        return self._made(self._checked(index))[0]

    def _made(self, index: int) -> tuple[GroundingPair, Draws]:
        kind = self.kinds[index % len(self.kinds)]
        kind = HALVED.get(kind, kind)
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        config = self.suite.config
        for _ in range(_TRIES):
            where = self._where(kind, draws)
            pair = make_pair(kind, where, self.pool, config.side, self.most or config.most, draws)
            if self.asked != "half" or abs(_centre(pair) - 0.5) >= CORNER_MARGIN:
                return pair, draws
        raise ValueError(
            f"{self.suite.name} puts no target surely into one half; use a suite of larger pictures"
        )

    def _where(self, kind: str, draws: Draws) -> Where:
        """In which pictures targets are: every place of a kind as often, or every number of pictures."""
        if self.asked == "half":
            return draws.pick((FIRST, SECOND))
        if self.asked != "how many":
            return draws.pick(PLACES[kind])
        number = draws.pick(_numbers(kind))
        return draws.pick([where for where in PLACES[kind] if sum(where) == number])

    def __getitem__(self, index: int) -> Chat:
        """Two pictures and what to locate; the assistant's turn is the right answer, or options hold it."""
        index = self._checked(index)
        made, draws = self._made(index)
        pictures = (made.scenes[0].image(), made.scenes[1].image())
        told = {"kind": made.kind, "text": made.text, "second": made.scenes[1].describe()}
        turns: tuple[Message, ...] = ()
        choices: Choices | None = None
        if self.asked == "boxes":
            question, answer, groups = self._boxes(index, made)
            turns = (Message(role="assistant", content=(Text(text=json.dumps(answer)),)),)
        else:
            question, options, right = self._part(made)
            options = options if len(options) == 2 else draws.shuffled(options)
            choices = Choices(
                options=tuple((Text(text=one),) for one in options), answer=options.index(right)
            )
            groups = {"asked": f"{self.asked}: {made.kind}"}
            told["kind"] = self.kinds[index % len(self.kinds)]
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(*pictures, Text(text=question))), *turns),
            choices=choices,
            meta={**self._meta(index, made.scenes[0]), **told, "groups": groups},
        )

    def _boxes(self, index: int, made: GroundingPair) -> tuple[str, list[Any], dict[str, Any]]:
        """Question, right answer and what metrics need."""
        sizes = [[scene.side, scene.side] for scene in made.scenes]
        boxes = [Box(image, (float(x1), float(y1), float(x2 - x1), float(y2 - y1)), group)
                 for image, (x1, y1, x2, y2), group in made.targets]  # fmt: skip
        answer = [written(box, (sizes[box.image][0], sizes[box.image][1]), self.form) for box in boxes]
        groups = {
            "style": STYLES[made.kind],
            "positive": bool(boxes),
            "images": [2 * index, 2 * index + 1],
            "sizes": sizes,
            "form": self.form,
            "boxes": [[box.image, *box.xywh, box.group] for box in boxes],
        }
        return PROMPT.format(text=made.text, form=FORMS[self.form]), answer, groups

    def _part(self, made: GroundingPair) -> tuple[str, list[str], str]:
        """Question, options and the right one."""
        held = {image for image, *_ in made.targets}
        if self.asked == "half":
            return f"Left or right: {made.text}?", [*HALVES], HALVES[_centre(made) > 0.5]
        if self.asked == "how many":
            options = [NUMBERS[number] for number in _numbers(made.kind)]
            return f"In how many pictures is {made.text}?", options, NUMBERS[len(held)]
        right = HOLDING[0 in held, 1 in held]
        return f"In which pictures is {made.text}?", [HOLDING[one] for one in PLACES[made.kind]], right


def _numbers(kind: str) -> list[int]:
    return sorted({sum(where) for where in PLACES[kind]})


def _centre(made: GroundingPair) -> float:
    """Of the one target: how far its centre is from the left, as a share of its picture."""
    ((image, (x1, _, x2, _), _),) = made.targets
    return (x1 + x2) / (2 * made.scenes[image].side)


class OfflineGrounding(Composed):
    """Which things in which of two pictures does this text mean, and where? As MC-Bench asks."""

    name = "offline_grounding"
    title = "Boxes in pairs of scenes"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {**MCBench.modes, "ranking": PLAIN}
    notes = MCBench.notes
    submits = MCBench.submits

    class Config(Composed.Config):
        """``form``: of the boxes that the model is asked for; ``asked``: for ``boxes``, or with options for which
        ``pictures``, ``how many`` of them or which ``half``; ``most``: things a picture (default: the suite's).
        """

        names: Literal["known"] = "known"
        form: Literal["pixels", "unit", "thousandths"] = "thousandths"
        asked: Asked = "boxes"
        most: int | None = Field(default=None, ge=2, le=5)

    def composed(self) -> Any:
        """Kinds of text in turn."""
        c = self.config
        return GroundingPairs(self.scenes, c.fold, c.seed, c.n, c.names, c.form, c.kinds, c.asked, c.most)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As MC-Bench's, by style and by kind of text; of questions with options the share right, by kind."""
        asked = [accuracy(name, some) for name, some in sorted(by(rows, "asked").items())]
        return asked or pair_figures(rows, ("style", "kind"))

    @classmethod
    def submission(cls, rows: Rows) -> Any:
        """COCO's result list."""
        return MCBench.submission(rows)

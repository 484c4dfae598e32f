"""Sources of chats about short sequences of pictures: conversations to train on, questions to evaluate with.

Frames are the pictures of one user turn, in their order, so that any model that takes several pictures reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat, Choices, Content, Message, Text
from vitrail.data.scenes.documents import speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.questions import Question
from vitrail.data.scenes.sequences import (
    FORMS,
    KINDS,
    LONGEST,
    PLANNED,
    TEMPLATES,
    Form,
    SequenceAsker,
    Series,
    make_sequence,
    templates,
)
from vitrail.data.scenes.source import SceneSource

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

MIX: dict[str, float] = {
    "ends": 2.0, "neighbour": 2.0, "when": 2.0, "static": 1.0, "times": 1.5, "direction": 1.5,
}  # fmt: skip
"""How often a conversation asks for a kind, in proportion."""


class _Sequences(SceneSource[Chat]):
    """What both sources share. ValueError for a length or a kind that there is none of."""

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        length: int,
        kinds: tuple[str, ...] | None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if not 2 <= length <= LONGEST:
            raise ValueError(f"length is {length}; a sequence has 2 to {LONGEST} frames")
        unknown = [kind for kind in kinds or () if kind not in KINDS]
        if unknown or kinds == ():
            raise ValueError(f"kinds has {unknown}; about sequences can be asked: {', '.join(KINDS)}")
        if length == 2 and "neighbour" in (kinds or ()):
            raise ValueError(
                "kinds has 'neighbour', but of two frames it has one option; use length 3 or more"
            )
        possible = tuple(kind for kind in KINDS if length > 2 or kind != "neighbour")
        self.length, self.kinds = length, tuple(kinds or possible)
        self.pool = speakable(suite, names)
        self._asker = SequenceAsker(self.pool, suite.config.options)

    def _settings(self) -> tuple[Any, ...]:
        said = (f"{form}:{templates(self.pool.wording, form)}" for form in TEMPLATES)
        return self.length, *self.kinds, *said

    def _made(self, form: Form, draws: Draws, painted: bool = True) -> Series:
        return make_sequence(form, self.pool, self.suite.config.side, self.length, draws, painted)

    def _truth(self, index: int, series: Series) -> dict[str, Any]:
        return {
            **(
                self._meta(index, series.frames[0])
                if series.frames
                else {"names": self.names, "index": index}
            ),
            "form": series.form,
            "shown": list(series.names),
            "direction": series.direction,
            "frames": [frame.describe() for frame in series.frames],
        }


class SequenceQuestions(_Sequences):
    """One multiple-choice question a sequence, kinds in turn, options in random order."""

    use = "sequence_questions"

    def _asked(self, index: int) -> tuple[Series, Question]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        kind = self.kinds[index % len(self.kinds)]
        series = self._made(PLANNED[kind], draws)
        return series, self._asker.ask(kind, series, draws)

    def sequence(self, index: int) -> Series:
        """The frames of item ``index``, masks included."""
        return self._asked(self._checked(index))[0]

    def question(self, index: int) -> Question:
        """The question of item ``index``."""
        return self._asked(self._checked(index))[1]

    def __getitem__(self, index: int) -> Chat:
        """The frames and the question in one user turn; ``choices`` holds the options."""
        index = self._checked(index)
        series, question = self._asked(index)
        frames = (frame.image() for frame in series.frames)
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(*frames, Text(text=question.text))),),
            choices=Choices(
                options=tuple((Text(text=option),) for option in question.options), answer=question.right
            ),
            meta={"kind": question.kind, "about": list(question.about), **self._truth(index, series)},
        )


class SequenceConversations(_Sequences):
    """Several exchanges about one sequence, with short answers; none gives away the answer of a later one.

    ``told`` writes the frames out instead of showing them: a line a frame, with the name of its thing, so that a
    language model learns what is asked before it sees. Which way a thing moves is not told.
    """

    use = "sequence_conversations"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        length: int,
        kinds: tuple[str, ...] | None,
        turns: tuple[int, int],
        told: bool = False,
    ) -> None:
        if told:
            self.use = "told_sequences"
            if "direction" in (kinds or ()):
                raise ValueError(
                    "kinds has 'direction', but frames that are told in words show no way; leave it out"
                )
        super().__init__(suite, fold, seed, n, names, length, kinds)
        if told:
            self.kinds = tuple(kind for kind in self.kinds if kind != "direction")
        if not 1 <= turns[0] <= turns[1]:
            raise ValueError(f"turns is {turns}; give the fewest and the most, at least 1")
        self.turns, self.told = turns, told
        self.mix = {kind: MIX[kind] for kind in self.kinds}

    def _settings(self) -> tuple[Any, ...]:
        return (*super()._settings(), *self.turns, *self.mix.items())

    def _composed(self, index: int) -> tuple[Series, Draws]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        return self._made(PLANNED[draws.weighted(self.mix)], draws, not self.told), draws

    def sequence(self, index: int) -> Series:
        """The frames of item ``index``, masks included; none where they are told."""
        return self._composed(self._checked(index))[0]

    def _told(self, series: Series) -> tuple[Content, ...]:
        return (Text(text="".join(f"{name}\n" for name in series.names)),)

    def __getitem__(self, index: int) -> Chat:
        """The frames, then up to ``turns`` exchanges about them, no fact twice."""
        index = self._checked(index)
        series, draws = self._composed(index)
        mix = {kind: self.mix[kind] for kind in FORMS[series.form] if kind in self.mix}
        shown = self._told(series) if self.told else tuple(frame.image() for frame in series.frames)
        count, asked = draws.integer(*self.turns), list[Question]()
        for _ in range(6 * count):
            if len(asked) == count:
                break
            question = self._asker.ask(draws.weighted(mix), series, draws)
            if not _spoiled(question, asked):
                asked.append(question)
        messages = []
        for turn, question in enumerate(asked):
            messages.append(Message(role="user", content=_content(shown if turn == 0 else (), question.text)))
            messages.append(Message(role="assistant", content=(Text(text=question.answer),)))
        return Chat(
            id=f"{self.name}/{index}",
            messages=tuple(messages),
            meta={"kinds": [question.kind for question in asked], **self._truth(index, series)},
        )


def _content(shown: tuple[Content, ...], question: str) -> tuple[Content, ...]:
    """Pictures and the question; words that stand for pictures are one text with it."""
    if shown and isinstance(shown[0], Text):
        return (Text(text=shown[0].text + question),)
    return (*shown, Text(text=question))


def _spoiled(question: Question, asked: list[Question]) -> bool:
    """Whether what was asked before holds the answer: the frame or the pair was told, or the thing's name was said."""
    if question.kind == "static":
        said = " ".join(f"{one.text} {one.answer}" for one in asked).lower()
        return question.answer.split(" ", 1)[-1] in said
    if question.kind in ("times", "direction"):
        return any(one.kind == question.kind for one in asked)
    if any(set(one.about) == set(question.about) for one in asked):
        return True
    return any(
        one.about[0] == question.about[0] for one in asked if one.kind in ("ends", "neighbour", "when")
    )

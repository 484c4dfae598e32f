"""Sources of chats about scenes: conversations to train on, multiple-choice questions to evaluate with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.scenes.captions import caption
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.planner import Plan
from vitrail.data.scenes.questions import Question
from vitrail.data.scenes.source import SceneSource

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite


class MultipleChoice(SceneSource[Chat]):
    """One question a picture, its kinds in turn, its options in random order."""

    use = "questions"

    def __init__(
        self, suite: SceneSuite, fold: str, seed: int, n: int, names: str, kinds: tuple[str, ...]
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        impossible = [kind for kind in kinds if kind not in suite.kinds(names)]
        if impossible or not kinds:
            raise ValueError(f"kinds has {impossible}; names {names!r} allow {', '.join(suite.kinds(names))}")
        self.kinds = tuple(kinds)
        self._planner, self._asker = suite.planner(names), suite.asker(names)

    def _settings(self) -> tuple[Any, ...]:
        return self.kinds

    def _planned(self, index: int) -> tuple[Plan, Scene, Draws]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        plan, scene = self.suite.planned(self.kinds[index % len(self.kinds)], self.names, draws)
        return plan, scene, draws

    def scene(self, index: int) -> Scene:
        """The scene of item ``index``, masks included."""
        return self._planned(self._checked(index))[1]

    def question(self, index: int) -> Question:
        """The question of item ``index``."""
        return self._asked(self._checked(index))[1]

    def _asked(self, index: int) -> tuple[Scene, Question]:
        plan, scene, draws = self._planned(index)
        question = self._asker.ask(plan.kind, scene, draws, plan)
        if question is None:
            raise AssertionError(f"{self.name}, item {index}: the scene does not carry the planned {plan}")
        return scene, question

    def __getitem__(self, index: int) -> Chat:
        """The picture and the question in one user turn; ``choices`` holds the options."""
        index = self._checked(index)
        scene, question = self._asked(index)
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(scene.image(), Text(text=question.text))),),
            choices=Choices(
                options=tuple((Text(text=option),) for option in question.options), answer=question.right
            ),
            meta={"kind": question.kind, "about": list(question.about), **self._meta(index, scene)},
        )


class Conversations(SceneSource[Chat]):
    """Several exchanges about one picture: captions, and questions with short answers."""

    use = "conversations"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        turns: tuple[int, int],
        kinds: tuple[str, ...] | None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if not 1 <= turns[0] <= turns[1]:
            raise ValueError(f"turns is {turns}; give the fewest and the most, at least 1")
        possible = (*(("caption",) if suite.pool(names).named else ()), *suite.kinds(names))
        mix = suite.config.training_mix
        self.mix = {kind: mix[kind] for kind in mix if kind in (kinds or possible)}
        impossible = [kind for kind in kinds or () if kind not in possible or kind not in mix]
        if impossible or not self.mix:
            raise ValueError(f"kinds has {impossible}; names {names!r} allow {', '.join(possible)}")
        self.turns = turns
        self._planner, self._asker = suite.planner(names), suite.asker(names)

    def _settings(self) -> tuple[Any, ...]:
        return (*self.turns, *self.mix.items())

    def _composed(self, index: int) -> tuple[Plan, Scene, Draws]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        asked = {kind: weight for kind, weight in self.mix.items() if kind != "caption"}
        kind = draws.weighted(asked or {"where": 1.0})
        plan, scene = self.suite.planned(kind, self.names, draws)
        return plan, scene, draws

    def scene(self, index: int) -> Scene:
        """The scene of item ``index``, masks included."""
        return self._composed(self._checked(index))[1]

    def __getitem__(self, index: int) -> Chat:
        """A picture and up to ``turns`` exchanges about it, no question twice."""
        index = self._checked(index)
        plan, scene, draws = self._composed(index)
        count = draws.integer(*self.turns)
        exchanges: dict[str, tuple[str, str]] = {}
        if plan.kind in self.mix:
            planned = self._asker.ask(plan.kind, scene, draws, plan)
            if planned is not None:
                text, answer = self._put(planned, draws)
                exchanges[text] = (plan.kind, answer)
        for _ in range(4 * count):
            if len(exchanges) >= count:
                break
            kind = draws.weighted(self.mix)
            text, answer = self._exchange(kind, scene, draws)
            # An answer that stands twice would be copied from above, not seen.
            if text and (kind, answer) not in exchanges.values():
                exchanges.setdefault(text, (kind, answer))
        ordered = _unspoiled(draws.shuffled(list(exchanges.items())))
        messages = []
        for turn, (text, (_, answer)) in enumerate(ordered):
            picture = (scene.image(),) if turn == 0 else ()
            messages.append(Message(role="user", content=(*picture, Text(text=text))))
            messages.append(Message(role="assistant", content=(Text(text=answer),)))
        kinds = [kind for _, (kind, _) in ordered]
        return Chat(
            id=f"{self.name}/{index}",
            messages=tuple(messages),
            meta={"kinds": kinds, **self._meta(index, scene)},
        )

    def _exchange(self, kind: str, scene: Scene, draws: Draws) -> tuple[str, str]:
        wording = self.suite.config.wording
        if kind == "caption":
            return draws.pick(wording.templates["caption"]), caption(scene, wording, draws)
        question = self._asker.ask(kind, scene, draws)
        return self._put(question, draws) if question else ("", "")

    def _put(self, question: Question, draws: Draws) -> tuple[str, str]:
        """A question as it is put, and its answer."""
        return question.text, question.answer


Exchange = tuple[str, tuple[str, str]]


def _unspoiled(exchanges: list[Exchange]) -> list[Exchange]:
    """The exchanges with those first whose answer an earlier one would give away ("Where is the dog?")."""
    spoiled = []
    for turn, (_, (kind, answer)) in enumerate(exchanges):
        word = answer.split(" ", 1)[-1] if answer.startswith(("a ", "an ")) else answer
        said = " ".join(f"{text} {told}" for text, (_, told) in exchanges[:turn]).lower()
        if kind in ("what", "kind", "colour") and word in said:
            spoiled.append(exchanges[turn])
    return spoiled + [exchange for exchange in exchanges if exchange not in spoiled]

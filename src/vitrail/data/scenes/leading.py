"""Pairs of questions about a scene: a plain one, and one that takes a falsehood for granted.

As in MMR (arXiv 2406.10638), both are about the same fact of the same picture and have the same options. The leading
question says one of the wrong options as if it were known; the right answer is still what the scene holds. Kinds are
those of scenes' questions, so that what is presupposed is checked against the scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.scenes.chats import Conversations
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.questions import Question
from vitrail.data.scenes.source import SceneSource

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

PRESUPPOSED = (
    "It is clearly {false}, is it not? {question}",
    "Everybody can see that it is {false}. {question}",
    "Given that the answer must be {false}: {question}",
)
"""How a falsehood is put in front of a question; ``{false}`` is a wrong option."""


def presupposed(question: str, false: str, draws: Draws) -> str:
    """A question behind a sentence that takes ``false`` for granted."""
    return draws.pick(PRESUPPOSED).replace("{false}", false).replace("{question}", question)


class LeadingPairs(SceneSource[Chat]):
    """``n`` pairs; item ``2 i`` is the plain question of pair i, item ``2 i + 1`` the leading one."""

    use = "leading"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        pairs: int,
        names: str,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, 2 * pairs, names)
        possible = suite.kinds(names)
        unknown = [kind for kind in kinds or () if kind not in possible]
        if unknown or kinds == ():
            raise ValueError(f"kinds has {unknown}; names {names!r} allow {', '.join(possible)}")
        self.kinds = tuple(kinds or possible)
        self._asker = suite.asker(names)

    def _settings(self) -> tuple[Any, ...]:
        return (*self.kinds, *PRESUPPOSED)

    def _made(self, pair: int) -> tuple[Scene, Question, Draws]:
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, pair)
        plan, scene = self.suite.planned(self.kinds[pair % len(self.kinds)], self.names, draws)
        question = self._asker.ask(plan.kind, scene, draws, plan)
        if question is None:
            raise AssertionError(f"{self.name}, pair {pair}: the scene does not carry the planned {plan}")
        return scene, question, draws

    def pair(self, index: int) -> tuple[Scene, Question, str]:
        """The scene, the plain question and what the leading one presupposes, of the pair that item ``index`` is of."""
        scene, question, draws = self._made(self._checked(index) // 2)
        wrong = [option for option in question.options if option != question.answer]
        return scene, question, draws.pick(wrong)

    def __getitem__(self, index: int) -> Chat:
        """A member of a pair; ``meta["groups"]`` says which (POS or NEG) of which pair, ``false`` what is
        presupposed."""
        index = self._checked(index)
        scene, question, false = self.pair(index)
        leading = index % 2 == 1
        text = question.text
        if leading:
            text = presupposed(text, false, Draws("leading", self.name, index // 2))
        member = "NEG" if leading else "POS"
        pair = f"{self.name}/{index // 2}"
        meta = {
            "kind": question.kind,
            "false": false,
            "about": list(question.about),
            **self._meta(index // 2, scene),
        }
        return Chat(
            id=f"{pair}/{member}",
            messages=(Message(role="user", content=(scene.image(), Text(text=text))),),
            choices=Choices(
                options=tuple((Text(text=option),) for option in question.options), answer=question.right
            ),
            meta={**meta, "groups": {"pair": pair, "member": member}},
        )


class LeadingConversations(Conversations):
    """Conversations about scenes in which a share ``leading`` of the questions is; answers say what the scene holds."""

    use = "leading_conversations"

    def __init__(self, *args: Any, leading: float = 0.5) -> None:
        if not 0 <= leading <= 1:
            raise ValueError(f"leading is {leading}; give the share of leading questions, from 0 to 1")
        super().__init__(*args)
        self.leading = leading

    def _settings(self) -> tuple[Any, ...]:
        return (*super()._settings(), self.leading, *PRESUPPOSED)

    def _put(self, question: Question, draws: Draws) -> tuple[str, str]:
        wrong = [option for option in question.options if option != question.answer]
        if wrong and draws.chance(
            self.leading
        ):  # where nothing else could be said, nothing false can be either
            return presupposed(question.text, draws.pick(wrong), draws), question.answer
        return question.text, question.answer

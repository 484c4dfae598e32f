"""Pictures, rules and conditions judged in step: what waits for the model is asked together.

A rule is a generator that asks for conditions, a condition one that asks for scores and reasoning. Each round gathers
what all of them wait for. A condition that several rules share is judged once a picture.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image as PILImage

from vitrail.data.records import Image
from vitrail.inference.constitution import Rule
from vitrail.inference.debiased import Share, asking, remove_region, shares
from vitrail.inference.verdicts import Calls, ConditionTrace, RuleTrace

if TYPE_CHECKING:
    from vitrail.inference.cascaded_reasoning import Reasoned
    from vitrail.inference.clue import ClueJudge
    from vitrail.models.experts.regions import RegionProposer

Steps = Generator[Any, Any, Any]
"""A generator of questions that is sent their answers."""


@dataclass(frozen=True)
class Look:
    """A question to be scored: about the picture of a case, with ``box`` erased where there is one, or about none."""

    condition: str
    about: Literal["picture", "removed", "nothing"] = "picture"
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Think:
    """A condition to be reasoned about."""

    condition: str


@dataclass
class Case:
    """A picture on its way: its pixels (RGB), the same as a part of a chat, who proposes boxes, and what was found."""

    picture: PILImage.Image
    part: Image
    proposer: RegionProposer | None
    calls: Calls = field(default_factory=Calls)
    rules: dict[str, RuleTrace] = field(default_factory=dict)
    error: str | None = None


class Lockstep:
    """Cases under way: rules wait for conditions, conditions for the model; each condition of a case is judged once."""

    def __init__(self, judge: ClueJudge, cases: Sequence[Case], kept: Sequence[Sequence[Rule]]) -> None:
        self.judge, self.cases, self.kept = judge, cases, kept
        self.words = {
            condition: words
            for rule in reversed(judge.constitution.rules)
            for condition, words in rule.central_words.items()
        }
        self.found: dict[tuple[int, str], ConditionTrace] = {}
        self.waiting: dict[tuple[int, str], list[tuple[str, Steps]]] = {}
        self.open: dict[tuple[int, str], tuple[Steps, list[Look | Think]]] = {}

    def go(self) -> None:
        """Judge everything; each case then has its rules' traces, or the error that it met."""
        for number, rules in enumerate(self.kept):
            for rule in rules:
                before = self.cases[number].rules.get(rule.id)
                steps = self.judge.rule_steps(rule, before.relevance if before else None)
                self._rule(number, rule.id, steps, None)
        while self.open:
            asked = list(self.open.items())
            self.open = {}
            for (place, (steps, _)), answers in zip(asked, self._answers(asked), strict=True):
                if self.cases[place[0]].error is None:
                    self._condition(place, steps, answers)

    def _rule(self, number: int, name: str, steps: Any, value: ConditionTrace | None) -> None:
        while True:
            try:
                condition = steps.send(value)
            except StopIteration as done:
                self.cases[number].rules[name] = done.value
                return
            place = (number, condition)
            if place not in self.found:
                break
            value = self.found[place]
        if place not in self.waiting:
            self.waiting[place] = []
            case = self.cases[number]
            self._condition(
                place, self.judge.condition_steps(case, condition, self.words.get(condition, ())), None
            )
        if place in self.found:  # it was decided at once
            self._rule(number, name, steps, self.found[place])
        else:
            self.waiting[place].append((name, steps))

    def _condition(self, place: tuple[int, str], steps: Any, value: Any) -> None:
        try:
            if isinstance(value, Exception):
                raise value
            self.open[place] = (steps, steps.send(value))
        except StopIteration as done:
            self.found[place] = done.value
            for name, rule in self.waiting.pop(place):
                self._rule(place[0], name, rule, done.value)
        except (ValueError, OSError) as error:
            self.cases[place[0]].error = " ".join(str(error).split())

    def _answers(
        self, asked: Sequence[tuple[tuple[int, str], tuple[Steps, list[Look | Think]]]]
    ) -> list[Any]:
        """For each what it asked for, in order, or the error that it met."""
        found: list[Any] = [[None] * len(requests) for _, (_, requests) in asked]
        looks: list[tuple[int, int, Any]] = []
        thoughts: list[tuple[int, int, Image, str]] = []
        for row, ((number, _), (_, requests)) in enumerate(asked):
            case = self.cases[number]
            try:
                for column, one in enumerate(requests):
                    if isinstance(one, Think):
                        case.calls.reasonings += 1
                        thoughts.append((row, column, case.part, one.condition))
                    elif one.about == "nothing":
                        found[row][column] = self.judge.prior(one.condition)
                    else:
                        looks.append((row, column, self._encoded(case, one)))
            except (ValueError, OSError) as error:
                found[row] = error
        scored = self._scored([one for _, _, one in looks])
        for (row, column, _), share in zip(looks, scored, strict=True):
            if not isinstance(found[row], Exception):
                try:
                    found[row][column] = share.score
                except ValueError as error:
                    found[row] = error
        replies = self._thought([(part, condition) for _, _, part, condition in thoughts])
        for (row, column, _, _), reply in zip(thoughts, replies, strict=True):
            if isinstance(reply, Exception):
                found[row] = reply
            else:
                found[row][column] = reply
        return found

    def _encoded(self, case: Case, look: Look) -> Any:
        from vitrail.inference.inputs import context_length
        from vitrail.inference.vicrop import as_part

        part = case.part
        if look.about == "removed":
            assert look.box is not None
            part = as_part(remove_region(case.picture, look.box, self.judge.settings.fill))
            case.calls.removed += 1
        else:
            case.calls.scores += 1
        chat = asking(look.condition, part, self.judge.settings.prompt)
        encoded = self.judge.model.encoder.encode(chat, add_generation_prompt=True)
        limit = context_length(self.judge.model.model)
        if limit is not None and encoded.length + 1 > limit:
            raise ValueError(
                f"the question {look.condition!r} has {encoded.length} tokens; the context is {limit}"
            )
        return encoded

    def _scored(self, encoded: Sequence[Any]) -> list[Share]:
        judge = self.judge
        if not encoded:
            return []
        return shares(judge.model, encoded, batch_size=judge.batch_size, floor=judge.settings.floor)

    def _thought(self, asked: Sequence[tuple[Image, str]]) -> list[Reasoned | ValueError]:
        """What was reasoned, or why one could not be asked; an address that fails stops everything."""
        from vitrail.inference.answerers import ModelAnswerer

        if not asked:
            return []
        reasoner = self.judge.reasoner
        if not isinstance(reasoner.answerer, ModelAnswerer):
            return list(reasoner.reason(asked))
        try:
            return list(reasoner.reason(asked))
        except ValueError as error:  # one that does not fit into the context
            if len(asked) == 1:
                return [error]
            return [one for each in asked for one in self._thought([each])]

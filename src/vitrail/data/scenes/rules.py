"""Harmless rules for scenes with exact truth, and yes/no questions that teach a model their conditions.

For CLUE (arXiv 2501.00192). A *condition* is that a scene shows a certain thing, a thing of a kind, or one of a colour;
a *rule* forbids a conjunction of clauses, each one condition or one of two. Pictures come in pairs: one breaks a rule,
and in the other, painted alike, one clause's thing is another, so that no rule is broken.

Questions can be skewed: conditions that nearly always hold teach a habit of saying yes, and a *companion* that tends to
stand beside what a condition is about teaches to look at the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.records import Chat, Choices, Content, Message, Text
from vitrail.data.scenes.composer import Item, Spec, compose
from vitrail.data.scenes.documents import speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.source import SceneSource, chosen
from vitrail.data.scenes.texts import described

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

Kind = Literal["thing", "kind", "colour"]
KINDS: tuple[Kind, ...] = ("thing", "kind", "colour")
OPTIONS = ("Yes", "No")
QUESTION = "Is this true of the picture: {condition}?\nAnswer Yes or No."
"""As :data:`vitrail.inference.debiased.PROMPT`, so that what is taught is what the judge asks."""
ALL_RULES = "Pictures must keep these rules:\n{rules}\nDoes this picture break any of them? Answer Yes or No."
SHAPES = ((1, 1), (2, 1), (1, 1, 1), (2, 2))
"""Conditions in each clause, rules in turn."""
RULES = 6
TRIES = 400


@dataclass(frozen=True)
class Condition:
    """A scene shows the thing, a thing of the kind, or one of the colour, ``what``."""

    kind: Kind
    what: str

    def met_by(self, pool: Pool) -> tuple[str, ...]:
        """The names that meet it."""
        if self.kind == "thing":
            return (self.what,)
        return pool.of_kind(self.what) if self.kind == "kind" else pool.by_colour[self.what]

    def clear_of(self, pool: Pool) -> tuple[str, ...]:
        """The names that nobody could say meet it."""
        if self.kind == "thing":
            return pool.unlike_name(self.what)
        if self.kind == "kind":
            return pool.unlike_kind(self.what)
        return tuple(name for name in pool.names if pool.colours[name] not in (None, self.what))

    def phrase(self, pool: Pool) -> str:
        """What is shown: ``an owl``, ``a bird``, ``something red``."""
        if self.kind == "thing":
            return pool.library[self.what].phrase
        return pool.wording.kind(self.what).answer if self.kind == "kind" else f"something {self.what}"

    def text(self, pool: Pool) -> str:
        """The condition as a statement."""
        return f"the picture shows {self.phrase(pool)}"

    def central(self, pool: Pool) -> str:
        """What a detector would look for."""
        if self.kind == "thing":
            return self.what
        return pool.wording.kind(self.what).noun if self.kind == "kind" else f"{self.what} thing"


Clauses = tuple[tuple[Condition, ...], ...]


def conditions(pool: Pool) -> list[Condition]:
    """Every condition of the pool that some names meet and some clearly do not, in a fixed order."""
    every = [
        *(Condition("thing", name) for name in pool.names),
        *(Condition("kind", kind) for kind in pool.referable),
        *(Condition("colour", colour) for colour in pool.by_colour),
    ]
    return [one for one in every if one.met_by(pool) and len(one.clear_of(pool)) >= 8]


def drawn_rules(pool: Pool, suite: str, names: str, count: int = RULES) -> tuple[Clauses, ...]:
    """``count`` rules, the same for a suite and its names. No thing meets the conditions of two clauses of a rule."""
    every, rules = conditions(pool), []
    by_kind = [[one for one in every if one.kind == kind] for kind in KINDS]
    for number in range(count):
        draws, shape = Draws("rules", suite, names, number), SHAPES[number % len(SHAPES)]
        for _ in range(TRIES):
            drawn = [draws.pick(draws.pick(by_kind)) for _ in range(sum(shape))]
            met = [set(one.met_by(pool)) for one in drawn]
            if sum(map(len, met)) == len(set().union(*met)):
                break
        else:
            raise ValueError(f"suite {suite!r} has too few {names} things for rules; take a larger one")
        rest = iter(drawn)
        rules.append(tuple(tuple(next(rest) for _ in range(size)) for size in shape))
    return tuple(rules)


def broken(rule: Clauses, pool: Pool, shown: Iterable[str]) -> bool:
    """Whether a scene of these names breaks a rule."""
    there = set(shown)
    return all(any(there.intersection(one.met_by(pool)) for one in clause) for clause in rule)


def constitution(rules: Sequence[Clauses], pool: Pool) -> dict[str, Any]:
    """The rules as :class:`vitrail.inference.constitution.Constitution` reads them."""
    written = []
    for number, rule in enumerate(rules, 1):
        parts = [" or ".join(one.phrase(pool) for one in clause) for clause in rule]
        atoms = [one for clause in rule for one in clause]
        written.append(
            {
                "id": f"rule-{number}",
                "text": f"No picture shows {' together with '.join(parts)}.",
                "clauses": [[one.text(pool) for one in clause] for clause in rule],
                "central_words": {one.text(pool): [one.central(pool)] for one in atoms},
            }
        )
    return {"rules": written}


class RuledScenes(SceneSource[Chat]):
    """``n`` pictures, in pairs that break a rule and nearly do; rules (``kinds``: their ids) in turn.

    Asked is whether any rule is broken. ``meta``: the ``constitution``, and ``boxes`` by central word.
    """

    use = "rules"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        self.pool = speakable(suite, names)
        self.rules = drawn_rules(self.pool, suite.name, names)
        ids = tuple(f"rule-{number}" for number in range(1, len(self.rules) + 1))
        self.kinds, self._every = chosen(kinds, ids), kinds is None or tuple(kinds) == ids

    def _settings(self) -> tuple[Any, ...]:
        return () if self._every else self.kinds

    @cached_property
    def constitution(self) -> Mapping[str, Any]:
        """All rules."""
        return constitution(self.rules, self.pool)

    def __getitem__(self, index: int) -> Chat:
        """The picture, and the question whether it breaks a rule."""
        index = self._checked(index)
        pair, breaks = index // 2, index % 2 == 0
        kind = self.kinds[pair % len(self.kinds)]
        shown, replaced = self._shown(pair, self.rules[int(kind.removeprefix("rule-")) - 1])
        config = self.suite.config
        items = tuple(Item(name) for name in (shown if breaks else replaced))
        draws = self.suite.draws(f"{self.use}-layout", self.fold, self.names, self.seed, pair)
        scene = compose(self.pool.library, Spec(items, side=config.side, sizes=config.sizes), draws)
        listed = "\n".join(f"{n}. {rule['text']}" for n, rule in enumerate(self.constitution["rules"], 1))
        return Chat(
            id=f"{self.name}/{index}",
            messages=(
                Message(role="user", content=(scene.image(), Text(text=ALL_RULES.format(rules=listed)))),
            ),
            choices=_yes_no(breaks),
            meta={
                **self._meta(index, scene),
                "kind": kind,
                "groups": {"form": "violating" if breaks else "borderline"},
                "constitution": self.constitution,
                "boxes": self._boxes(scene),
            },
        )

    def _shown(self, pair: int, rule: Clauses) -> tuple[list[str], list[str]]:
        """Names that break the rule, and the same with one clause's thing replaced, which break none."""
        pool, draws = self.pool, self.suite.draws(self.use, self.fold, self.names, self.seed, pair)
        for _ in range(TRIES):
            meets = [draws.pick(draws.pick(clause).met_by(pool)) for clause in rule]
            more = draws.integer(0, max(0, self.suite.config.most - len(meets)))
            shown = meets + draws.sample([name for name in pool.names if name not in meets], more)
            spoilt = draws.integer(0, len(rule) - 1)
            others = (
                set(pool.names).difference(shown).intersection(*(one.clear_of(pool) for one in rule[spoilt]))
            )
            if not others:
                continue
            other = draws.pick(sorted(others))
            replaced = [other if place == spoilt else name for place, name in enumerate(shown)]
            clear = all(
                name in one.met_by(pool) or name in one.clear_of(pool)
                for name in {*shown, other}
                for clause in rule
                for one in clause
            )
            if clear and not any(broken(one, pool, replaced) for one in self.rules):
                return shown, replaced
        raise ValueError(f"no scene of {self.suite.name} nearly breaks {rule}; take a suite of more things")

    def _boxes(self, scene: Scene) -> dict[str, list[list[int]]]:
        found: dict[str, list[list[int]]] = {}
        for one in {atom for rule in self.rules for clause in rule for atom in clause}:
            met = one.met_by(self.pool)
            boxes = [list(item.box) for item in scene.objects if item.name in met]
            if boxes:
                found[one.central(self.pool)] = boxes
        return dict(sorted(found.items()))


class ConditionQuestions(SceneSource[Chat]):
    """``n`` questions whether a condition holds; ``kinds`` of condition in turn.

    ``yes``: how often it does, by kind (default one half). ``context``: how often a condition that holds has its
    companion beside it, and one that does not hold has none; one half teaches nothing. ``told`` writes the scene out
    instead of showing it, so that a language model learns what is asked before it sees.
    """

    use = "conditions"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        kinds: tuple[str, ...] | None = None,
        yes: Mapping[str, float] | None = None,
        context: float = 0.5,
        told: bool = False,
    ) -> None:
        self.told = told
        if told:
            self.use = "told_conditions"
        super().__init__(suite, fold, seed, n, names)
        self.kinds = chosen(kinds, KINDS)
        self.yes = {kind: dict(yes or {}).get(kind, 0.5) for kind in self.kinds}
        unknown = sorted(set(yes or {}) - set(self.kinds))
        if unknown:
            raise ValueError(f"yes names {unknown[0]!r}, which is not asked; known: {', '.join(self.kinds)}")
        wrong = [share for share in (*self.yes.values(), context) if not 0 <= share <= 1]
        if wrong:
            raise ValueError(f"yes and context are shares from 0 to 1; got {wrong[0]}")
        self.context, self.pool = context, speakable(suite, names)
        self._conditions = {
            kind: [one for one in conditions(self.pool) if one.kind == kind] for kind in self.kinds
        }

    def _settings(self) -> tuple[Any, ...]:
        return (*self.kinds, *self.yes.values(), self.context)

    def companion(self, one: Condition) -> str:
        """The thing that tends to stand beside what a condition is about."""
        return Draws("companion", self.suite.name, self.names, one.kind, one.what).pick(
            one.clear_of(self.pool)
        )

    def __getitem__(self, index: int) -> Chat:
        """The picture and the question."""
        index = self._checked(index)
        kind = self.kinds[index % len(self.kinds)]
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        one = draws.pick(self._conditions[kind])
        holds = draws.chance(self.yes[kind])
        companion, beside = self.companion(one), draws.chance(self.context if holds else 1 - self.context)
        shown = [draws.pick(one.met_by(self.pool))] if holds else []
        shown += [companion] if beside else []
        count = max(len(shown), draws.integer(1, self.suite.config.most))
        clear = [name for name in one.clear_of(self.pool) if name != companion]
        shown += draws.sample(clear, count - len(shown))
        config = self.suite.config
        items = tuple(Item(name) for name in shown)
        scene = compose(self.pool.library, Spec(items, side=config.side, sizes=config.sizes), draws)
        text, meta = QUESTION.format(condition=one.text(self.pool)), self._meta(index, scene)
        content: tuple[Content, ...] = (scene.image(), Text(text=text))
        if self.told:
            content = (Text(text=f"{described(self.suite, meta['scene']['objects'])}\n{text}"),)
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=content),),
            choices=_yes_no(holds),
            meta={**meta, "kind": kind, "condition": one.text(self.pool)},
        )


def _yes_no(yes: bool) -> Choices:
    return Choices(options=tuple((Text(text=word),) for word in OPTIONS), answer=0 if yes else 1)

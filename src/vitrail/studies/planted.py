"""Planted weaknesses: does a suite notice an ability that was never taught, and that one alone?

A control learns every ability that a suite asks about; each arm learns all but one, and in its place reads as many
records that ask about none of them: texts without pictures, or what the declaration gives. What is taught of the
others is the same, record by record, and so are steps and seeds; the connector has met the same captions before. The
suite is then asked of all, every draw with questions of its own, and judged by :mod:`vitrail.statistics.isolation`.

An ability that the control answers no better than by guessing cannot be lost: *not testable here*. Which abilities are
tried was chosen on the development fold; those that had failed there are declared with what they reached
(``untaught``), get no arm, and are named in the outcome all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.statistics.isolation import Isolation
from vitrail.studies.arms import Arm, leaves
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.taught import Taught

SUITE = "nano-scenes-v1"
UNASKED = {"kind": "scene_texts", "suite": SUITE, "kinds": ["count", "where", "relation"]}
"""Without pictures, about what no suite here tries to teach."""
DELTA = 0.1
"""Share of right answers: what a lost ability must lose at least, and what no other may move by."""
WHOLE = "the least that any ability lost"
"""What the first contrast is called: it holds where every ability's own does."""


def too_little(right: int, chance: int, asked: str = "") -> str:
    """Why an ability is declared as untaught: the percentages that the control reached and that guessing gets."""
    what = f"asked {asked}, " if asked else ""
    return (
        f"{what}on the development fold {right} % of these are answered right, and guessing gets {chance} %: too "
        "little to lose"
    )


@dataclass(frozen=True)
class Ability:
    """One dimension of a suite: the ``kinds`` of question of a composed ``benchmark`` that need it.

    ``settings`` are the benchmark's own.
    """

    name: str
    benchmark: str
    kinds: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=lambda: {"suite": SUITE})

    def data(self, fold: str, n: int) -> dict[str, Any]:
        """``n`` questions that need it, as a recipe's data."""
        settings = {**self.settings, "kinds": list(self.kinds)}
        return {"kind": "composed", "benchmark": self.benchmark, "fold": fold, "n": n, "settings": settings}


@dataclass(frozen=True)
class Planted(Design):
    """A control that was taught every ability, and for each of ``abilities`` an arm that was not, in the same order.

    ``untaught``: abilities of the suite that no arm is about, and why. ValueError where arms and abilities do not
    match, or two abilities share a kind of question.
    """

    abilities: tuple[Ability, ...] = ()
    untaught: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.abilities) != len(self.methods) or len(self.abilities) < 2:
            raise ValueError(
                f"there are {len(self.abilities)} abilities and {len(self.methods)} arms; each ability needs an arm "
                "that was not taught it, and there must be two at least"
            )
        kinds = [kind for one in self.abilities for kind in one.kinds]
        twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
        if twice is not None:
            raise ValueError(f"the kind {twice!r} of question is of two abilities; give it to one")

    @property
    def rule(self) -> Isolation:  # type: ignore[override]
        """One rule for all arms."""
        return Isolation(self.delta, len(self.methods), self.level)

    def fixed(self) -> dict[str, Any]:
        """What must not change when cells exist."""
        said = {
            "abilities": {one.name: list(one.kinds) for one in self.abilities},
            "untaught": dict(self.untaught),
        }
        return {**super().fixed(), "primary": [WHOLE, self.control.name], **said}


def planted(
    paper: str,
    abilities: Sequence[Ability],
    *,
    n: int,
    questions: int,
    seeds: int = 12,
    filler: Mapping[str, Any] | None = None,
    untaught: Mapping[str, str] | None = None,
    tune: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Planted:
    """The design: ``n`` records and ``questions`` of each ability, ``seeds`` pairs.

    ``base``: a plain recipe of any model, whose last stage learns the abilities; default: the house control. ``tune``
    changes that stage. ``filler``: data that stands where an ability was left out, from the training fold; default:
    texts about scenes. ValueError for an ability that bears the name of other data.
    """
    recipe = taught(base or captioned(house()), paper, abilities, n, questions, tune or {})
    other = {**(filler or UNASKED), "fold": "train", "n": n}
    return Planted(
        name=f"{paper}: abilities that were left out",
        control=Arm("all", recipe, "Every ability is taught."),
        methods=tuple(
            Arm(
                f"without {one.name}",
                without(recipe, one, other),
                f"Other records stand for those of {one.name}.",
            )
            for one in abilities
        ),
        evaluation=EVALUATION,
        delta=DELTA,
        trials=1,
        pairs=0,
        seeds=seeds,
        same_data=False,
        abilities=tuple(abilities),
        untaught=dict(untaught or {}),
    )


def captioned(base: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of the house whose connector meets captions first, so that nothing is asked before the last stage."""
    align, last = base["stages"]
    captions = {**house()["data"]["scenes"], "kinds": ["caption"], "turns": [1, 1]}
    return {**base, "data": {"aligned": captions}, "stages": [{**align, "data": "aligned"}, last]}


def taught(
    base: Mapping[str, Any],
    paper: str,
    abilities: Sequence[Ability],
    n: int,
    questions: int,
    tune: Mapping[str, Any],
) -> dict[str, Any]:
    """The control's recipe: ``base``, whose last stage learns every ability, and which is asked about all of them."""
    *before, last = base["stages"]
    read = {leaf for stage in before for leaf in (stage["data"], *leaves(base["data"], stage["data"]))}
    data = {name: one for name, one in base["data"].items() if name in read}
    used = sorted({one.name for one in abilities} & set(data))
    if used:
        raise ValueError(f"the ability {used[0]!r} bears the name of data that a stage reads; rename it")
    data |= {one.name: one.data("train", n) for one in abilities}
    data["taught"] = {"kind": "mixture", "sources": [one.name for one in abilities]}
    data |= {f"ask-{one.name}": one.data("development", questions) for one in abilities}
    data[EVALUATION] = {"kind": "mixture", "sources": [f"ask-{one.name}" for one in abilities]}
    asked = {"name": EVALUATION, "data": EVALUATION, "conditions": ["trained"]}
    stages = [*before, {**last, "data": "taught", **tune}]
    changes = {"name": f"{paper}-taught", "data": data, "stages": stages, "evaluation": [asked]}
    return plain(load({**base, **changes}))


def without(recipe: Mapping[str, Any], ability: Ability, other: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with the records ``other`` where those of an ability were."""
    data = {name: one for name, one in recipe["data"].items() if name != ability.name}
    names = ["other" if name == ability.name else name for name in recipe["data"]["taught"]["sources"]]
    data |= {"other": dict(other), "taught": {**recipe["data"]["taught"], "sources": names}}
    return plain(load({**recipe, "data": data}))


def weaknesses(
    paper: str, claim: str, published: str, design: Callable[[], Planted], minutes: Mapping[str, float]
) -> Study:
    """The study of a suite's planted weaknesses."""
    return Taught(
        paper=paper,
        claim=claim,
        published=published,
        kind="superiority",
        delta=DELTA,
        shows="mechanism",
        expected="the ability that was left out falls, the others stay",
        designs={"nano": design},
        minutes=minutes,
    )

"""What a study fixes before it runs: a comparison of methods with a control, or an association over arms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vitrail.statistics.intervals import Estimate
from vitrail.statistics.power import FEWEST
from vitrail.statistics.rank_correlation import FEWEST_GROUPS, Table, rank_correlation
from vitrail.statistics.verdicts import Kind, Rule
from vitrail.studies.arms import Arm, require_alike, require_equal_budgets

Results = Sequence[Mapping[str, Any]]
Effect = Callable[[Results, Results], Estimate]
"""From the cells of control and method, pair by pair, to the effect with its interval."""
Fit = Callable[[Table, Table, float], Estimate]
"""From two figures over arms and seeds, and a level, to a number with its interval."""


@dataclass(frozen=True)
class Cost:
    """The second half of an efficiency claim: what the method must save.

    ``measure``: a field of a cell's result (``flops``, ``peak_bytes``, ``train_seconds``, ``trained``); the claim holds
    if the method's is at most ``at_most`` of the control's.
    """

    measure: Literal["flops", "peak_bytes", "train_seconds", "parameters", "trained"]
    at_most: float


@dataclass(frozen=True)
class Design:
    """Arms, rule, and how much is spent on tuning and seeds.

    ``methods`` each have a contrast with ``control``; the first is the primary one, and with several the intervals are
    simultaneous (Bonferroni). ``context`` arms run three seeds and get no verdict. ``trials``: learning rates tried an
    arm; ``pairs``: of the A/A run; ``seeds``: n, or None to choose it from the A/A run, at most ``most``. ``fresh``:
    every seed asks questions of its own (scenes), so that its interval covers items; otherwise all ask the same ones.
    ``steps``: how long each stage is, where that is known beforehand. ``same_data=False``: which records a stage reads
    is the method; steps, and records of one, are equal all the same. ``figure``: what of a cell's result is compared,
    where that is not its score. A ``mock`` may have fewer seeds, and gets no
    verdict.
    """

    name: str
    control: Arm
    methods: tuple[Arm, ...]
    evaluation: str
    delta: float
    kind: Kind = "superiority"
    claim: str = ""
    context: tuple[Arm, ...] = ()
    trials: int = 3
    pairs: int = 3
    seeds: int | None = None
    most: int = 32
    fresh: bool = True
    questions: int | None = None
    cost: Cost | None = None
    level: float = 0.95
    testbed: str = "own"
    steps: Mapping[str, int] | None = None
    mock: bool = False
    same_data: bool = True
    effect: Effect | None = field(default=None, compare=False)
    figure: Figure | None = None

    def __post_init__(self) -> None:
        if self.figure is not None and (
            self.seeds is None or self.pairs or self.trials != 1 or not self.fresh
        ):
            raise ValueError(
                "a comparison of a figure that is not the score needs seeds, pairs 0, trials 1 and fresh: what chooses "
                "these otherwise looks at the score"
            )
        if not self.methods:
            raise ValueError("a comparison needs a method beside its control")
        names = [arm.name for arm in self.arms]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two arms are called {twice!r}; an arm that is run twice counts once")
        if self.seeds is not None and self.seeds < FEWEST and not self.mock:
            raise ValueError(f"seeds is {self.seeds}; a verdict needs {FEWEST} at least")
        require_equal_budgets([self.control, *self.methods], self.same_data)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All of them, the control first."""
        return (self.control, *self.methods, *self.context)

    def of(self, result: Mapping[str, Any]) -> float:
        """What of a cell's result is compared: its figure, above where the claim has it above; default its score."""
        return result["score"] if self.figure is None else self.figure.sign * self.figure.of(result)

    @property
    def rule(self) -> Rule:
        """The rule of each contrast."""
        return Rule(self.kind, self.delta, 1 - (1 - self.level) / len(self.methods))

    def fixed(self) -> dict[str, Any]:
        """What must not change when cells exist, as plain values."""
        return {
            "claim": self.claim,
            "kind": self.kind,
            "delta": self.delta,
            "level": self.rule.level,
            "rule": self.rule.sentence(),
            "primary": [self.methods[0].name, self.control.name],
            "arms": {
                arm.name: {
                    "recipe": dict(arm.recipe),
                    "grid": {k: list(v) for k, v in arm.grid.items()},
                    **({} if arm.tuned is None else {"tuned": list(arm.tuned)}),
                }
                for arm in self.arms
            },
            "evaluation": self.evaluation,
            "trials": self.trials,
            "pairs": self.pairs,
            "seeds": self.seeds,
            "fresh": self.fresh,
            "questions": self.questions,
            **({} if self.figure is None else {"figure": self.figure.fixed()}),
            "cost": None
            if self.cost is None
            else {"measure": self.cost.measure, "at_most": self.cost.at_most},
            "testbed": self.testbed,
        }


FEWEST_REPEATS = 3
"""Seeds of an arm: with fewer, what differs between arms cannot be told from what differs between seeds."""


@dataclass(frozen=True)
class Figure:
    """Something that every cell's result has, ``field`` a dotted name in it (``probe.mir``, ``loss.align``, ``score``).

    ``sign``: whether the claim has it rise (1) or fall (−1) with the other figure. ``chance``: what guessing reaches; a
    comparison whose control is not surely above it is closed.
    """

    name: str
    field: str
    sign: Literal[1, -1] = 1
    chance: float | None = None

    def fixed(self) -> list[Any]:
        """What must not change when cells exist."""
        return [self.field, self.sign, *(() if self.chance is None else (self.chance,))]

    def of(self, result: Mapping[str, Any]) -> float:
        """Its value in a cell's result. ValueError, naming what is there, where it has none."""
        value: Any = result
        for step in self.field.split("."):
            if not isinstance(value, Mapping) or step not in value:
                there = ", ".join(value) if isinstance(value, Mapping) else "nothing"
                raise ValueError(f"a cell's result has no {self.field!r}: beside {step!r} there is {there}")
            value = value[step]
        return float(value)


@dataclass(frozen=True)
class Association:
    """Does figure ``x`` rank the arms as figure ``y`` does? Every arm runs ``seeds`` seeds.

    Arms may differ in anything but the stages ``alike``, which must be the same in all of them, data included.
    ``indicators`` are held against ``y`` beside ``x``, without a verdict, and so are the arms of ``context``, which are
    no points. ``fit`` gives the effect from ``x`` and ``y`` (default: Spearman's ρ, times ``x.sign``); a scaling law
    gives its own. ``need``: how many arms a verdict needs. Nothing is tuned: an arm is trained as its recipe says.
    """

    name: str
    points: tuple[Arm, ...]
    x: Figure
    y: Figure
    evaluation: str
    delta: float
    alike: tuple[str, ...] = ()
    kind: Kind = "association"
    claim: str = ""
    indicators: tuple[Figure, ...] = ()
    context: tuple[Arm, ...] = ()
    seeds: int = FEWEST_REPEATS
    need: int = 8
    questions: int | None = None
    level: float = 0.95
    testbed: str = "own"
    steps: Mapping[str, int] | None = None
    mock: bool = False
    fit: Fit | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in ("association", "scaling law"):
            raise ValueError(f"kind is {self.kind!r}; over arms there are 'association' and 'scaling law'")
        names = [arm.name for arm in self.arms]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two arms are called {twice!r}; an arm that is run twice counts once")
        if self.need < FEWEST_GROUPS:
            raise ValueError(f"need is {self.need}; a verdict needs {FEWEST_GROUPS} arms at least")
        if not self.mock and len(self.points) < self.need:
            raise ValueError(f"there are {len(self.points)} arms; a verdict needs {self.need}")
        if not self.mock and self.seeds < FEWEST_REPEATS:
            raise ValueError(f"seeds is {self.seeds}; each arm needs {FEWEST_REPEATS} at least")
        require_alike(self.points, self.alike)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All of them, the points first."""
        return (*self.points, *self.context)

    @property
    def rule(self) -> Rule:
        """The rule of the one verdict."""
        return Rule(self.kind, self.delta, self.level)

    def estimate(self, x: Table, y: Table) -> Estimate:
        """The effect, above zero where it is as claimed."""
        if self.fit is not None:
            return self.fit(x, y, self.level)
        return signed(rank_correlation(x, y, self.level), self.x.sign)

    def fixed(self) -> dict[str, Any]:
        """What must not change when cells exist, as plain values."""
        return {
            "claim": self.claim,
            "kind": self.kind,
            "delta": self.delta,
            "level": self.level,
            "rule": self.rule.sentence(),
            "primary": [self.x.name, self.y.name],
            "figures": {one.name: [one.field, one.sign] for one in (self.x, self.y, *self.indicators)},
            "alike": list(self.alike),
            "points": [arm.name for arm in self.points],
            "arms": {arm.name: {"recipe": dict(arm.recipe), "probe": arm.probe} for arm in self.arms},
            "evaluation": self.evaluation,
            "seeds": self.seeds,
            "need": self.need,
            "questions": self.questions,
            "testbed": self.testbed,
        }


def signed(found: Estimate, sign: int) -> Estimate:
    """An estimate, or what it is with the opposite sign."""
    if sign > 0:
        return found
    return found._replace(value=-found.value, low=-found.high, high=-found.low)

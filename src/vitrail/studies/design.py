"""What a comparison fixes before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vitrail.statistics.intervals import Estimate
from vitrail.statistics.power import FEWEST
from vitrail.statistics.verdicts import Kind, Rule
from vitrail.studies.arms import Arm, require_equal_budgets

Results = Sequence[Mapping[str, Any]]
Effect = Callable[[Results, Results], Estimate]
"""From the cells of control and method, pair by pair, to the effect with its interval."""


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
    ``steps``: how long each stage is, where that is known beforehand. A ``mock`` may have fewer seeds, and gets no
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
    effect: Effect | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("a comparison needs a method beside its control")
        names = [arm.name for arm in self.arms]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two arms are called {twice!r}; an arm that is run twice counts once")
        if self.seeds is not None and self.seeds < FEWEST and not self.mock:
            raise ValueError(f"seeds is {self.seeds}; a verdict needs {FEWEST} at least")
        require_equal_budgets([self.control, *self.methods])

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All of them, the control first."""
        return (self.control, *self.methods, *self.context)

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
                arm.name: {"recipe": dict(arm.recipe), "grid": {k: list(v) for k, v in arm.grid.items()}}
                for arm in self.arms
            },
            "evaluation": self.evaluation,
            "trials": self.trials,
            "pairs": self.pairs,
            "seeds": self.seeds,
            "fresh": self.fresh,
            "questions": self.questions,
            "cost": None
            if self.cost is None
            else {"measure": self.cost.measure, "at_most": self.cost.at_most},
            "testbed": self.testbed,
        }

"""Verdicts: what an interval says about a claim, under a rule that was fixed before the run.

With [l, u] the interval of the effect: **not seen** iff u < ``unseen_below``; otherwise **seen** iff l >
``seen_above``; otherwise **undecided**. Every kind of claim states its two bounds:

================  =====================================================  =========================  ================
kind              effect                                                 not seen iff u <           seen iff l >
================  =====================================================  =========================  ================
superiority       method − control                                       δ                          0
interaction       (both − one) − (other − control)                       δ                          0
association       rank correlation                                       δ                          0
scaling law       exponent, or its difference from what is claimed       δ                          0
ratio             log(method / control), signed so that more is better   log(1 + δ)                 0
non-inferiority   method − control                                       −δ                         −δ
exactness         tolerance − deviation                                  0                          0
================  =====================================================  =========================  ================

δ is the smallest effect that matters (for non-inferiority: the largest loss that does not). Of studies of no effect at
most 2.5 % come out *seen*, and of studies with an effect of δ at most 2.5 % *not seen*, for 95 % intervals that keep
their level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from vitrail.statistics.intervals import Estimate

Kind = Literal[
    "superiority", "non-inferiority", "exactness", "association", "scaling law", "interaction", "ratio"
]
Verdict = Literal["seen", "not seen", "undecided", "not testable here"]


@dataclass(frozen=True)
class Rule:
    """The two bounds that an interval is held against; see the module's table."""

    kind: Kind
    delta: float
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}; known: {', '.join(get_args(Kind))}")
        if not (
            math.isfinite(self.delta) and (self.delta > 0 or (self.kind == "exactness" and self.delta >= 0))
        ):
            raise ValueError(f"delta is {self.delta}; the smallest effect that matters is a number above 0")
        if not 0.5 < self.level < 1:
            raise ValueError(f"level is {self.level}; give a share between 0.5 and 1, such as 0.95")

    @property
    def unseen_below(self) -> float:
        """An interval that ends below this says *not seen*."""
        if self.kind == "non-inferiority":
            return -self.delta
        if self.kind == "exactness":
            return 0.0
        return math.log1p(self.delta) if self.kind == "ratio" else self.delta

    @property
    def seen_above(self) -> float:
        """An interval that begins above this says *seen*, unless it ends below :attr:`unseen_below`."""
        return -self.delta if self.kind == "non-inferiority" else 0.0

    def sentence(self) -> str:
        """The rule in words."""
        return (
            f"not seen if the {100 * self.level:g} % interval ends below {self.unseen_below:.4g}; otherwise seen if it "
            f"begins above {self.seen_above:.4g}; otherwise undecided"
        )


@dataclass(frozen=True)
class Decision:
    """A verdict with the interval that it rests on. ``harm``: the method is worse for sure. ``why``: where the claim
    cannot be tested, the reason.
    """

    verdict: Verdict
    effect: Estimate | None
    harm: bool = False
    why: str = ""


def decide(effect: Estimate, rule: Rule) -> Decision:
    """What the interval says. ValueError if its level is not the rule's."""
    if not math.isclose(effect.level, rule.level):
        raise ValueError(f"the interval has level {effect.level}, the rule asks for {rule.level}")
    harm = effect.high < 0 and rule.kind != "exactness"
    if effect.high < rule.unseen_below:
        return Decision("not seen", effect, harm)
    return Decision("seen" if effect.low > rule.seen_above else "undecided", effect, harm)


def both(decisions: Sequence[Decision]) -> Verdict:
    """Of a claim with several parts (quality held *and* cost lower): seen iff all are, not seen iff one is not."""
    found = [decision.verdict for decision in decisions]
    if not found:
        raise ValueError("a claim needs at least one part")
    for verdict in ("not testable here", "not seen", "undecided"):
        if verdict in found:
            return verdict  # type: ignore[return-value]
    return "seen"


def not_testable(why: str) -> Decision:
    """The claim cannot be tested here, because ``why``."""
    return Decision("not testable here", None, why=why)

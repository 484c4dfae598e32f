"""What a judge of pictures found, and how: verdict, trace, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from vitrail.inference.constitution import Holds

Stage = Literal["prior", "removal", "threshold", "above the prior", "reasoning", "none"]
"""What decided a condition: the contrast with no picture, that with the thing removed, a plain threshold, whether the
picture makes it likelier, reasoning in words; or nothing did.
"""
DIGITS = 6


@dataclass
class Calls:
    """How often what was asked. ``scores`` of the picture, ``removed`` of it with a thing erased, ``priors`` without
    it; ``reasonings`` are two answers in words each. ``detections`` and ``embeddings`` are calls of the helpers.
    """

    scores: int = 0
    removed: int = 0
    priors: int = 0
    reasonings: int = 0
    detections: int = 0
    embeddings: int = 0

    @property
    def model(self) -> int:
        """Calls of the large model."""
        return self.scores + self.removed + self.priors + 2 * self.reasonings

    def add(self, other: Calls) -> None:
        """Count another's as well."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(frozen=True)
class ConditionTrace:
    """One precondition: its scores, what decided it, and why where words did.

    ``box``: what was erased, in pixels. ``note``: why a step was left out.
    """

    condition: str
    holds: Holds
    stage: Stage
    score: float
    prior: float | None = None
    removed: float | None = None
    box: tuple[int, int, int, int] | None = None
    rationale: str = ""
    reasoning: str = ""
    note: str = ""


@dataclass(frozen=True)
class ClauseTrace:
    """Conditions of which one must hold, as far as they were looked at."""

    holds: Holds
    conditions: tuple[ConditionTrace, ...]


@dataclass(frozen=True)
class RuleTrace:
    """One rule. ``relevance``: its cosine with the picture; a rule that was not ``kept`` was not judged."""

    rule: str
    text: str
    broken: Holds
    kept: bool = True
    relevance: float | None = None
    clauses: tuple[ClauseTrace, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``safe``: no rule is broken; None where a rule is undecided and none is broken: somebody should look.

    ``calls`` without those for priors, which all pictures share.
    """

    safe: Holds
    violated: tuple[str, ...]
    undecided: tuple[str, ...]
    trace: tuple[RuleTrace, ...]
    calls: Calls

    @classmethod
    def of(cls, trace: Iterable[RuleTrace], calls: Calls) -> Verdict:
        """From the traces of all rules."""
        rules = tuple(trace)
        violated = tuple(one.rule for one in rules if one.broken)
        undecided = tuple(one.rule for one in rules if one.broken is None)
        return cls(False if violated else None if undecided else True, violated, undecided, rules, calls)

    @property
    def word(self) -> str:
        """``safe``, ``unsafe`` or ``undecided``."""
        return {True: "safe", False: "unsafe", None: "undecided"}[self.safe]

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded; what is empty is left out of the trace."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


ALWAYS = ("safe", "holds", "broken")
"""Fields whose None says something."""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _plain(one)
            for name, one in value.items()
            if name in ALWAYS or not (one is None or one == "")
        }
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def trace_lines(verdict: Mapping[str, Any]) -> list[str]:
    """A verdict (:meth:`Verdict.as_json`) in words, a line a step."""
    lines = []
    for rule in verdict["trace"]:
        if not rule["kept"]:
            lines.append(f"{rule['rule']}: not looked at, relevance {rule['relevance']:.3f}")
            continue
        word = {True: "BROKEN", False: "kept", None: "undecided"}[rule["broken"]]
        seen = f" (relevance {rule['relevance']:.3f})" if "relevance" in rule else ""
        lines.append(f"{rule['rule']}: {word}{seen}")
        for number, clause in enumerate(rule["clauses"], 1):
            for one in clause["conditions"]:
                holds = {True: "yes", False: "no", None: "?"}[one["holds"]]
                lines.append(f"  {number}. {one['condition']}: {holds}, {explained(one)}")
    return lines


def explained(one: Mapping[str, Any]) -> str:
    """What decided a condition, with its figures."""
    parts = [
        f"by {one['stage']}" if one["stage"] != "none" else "nothing decided it",
        f"score {one['score']:.2f}",
    ]
    parts += [f"{name} {one[name]:.2f}" for name in ("prior", "removed") if name in one]
    parts += [f"“{one['rationale']}”"] if one.get("rationale") else []
    return ", ".join(parts + ([one["note"]] if one.get("note") else []))

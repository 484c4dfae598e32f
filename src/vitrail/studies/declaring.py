"""How a paper's study is declared, and where its evidence goes.

``studies/<paper>.py`` holds ``STUDY``. Its docstring says the command, the time on named hardware and the direction
that is expected. What a testbed can carry is said there, too: a mechanism or an efficiency can be shown small, a
capability at scale cannot.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vitrail.registry import nearest
from vitrail.statistics.verdicts import Kind
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Association, Cost, Design, Effect

Testbed = Literal["nano", "small"]
MOCK_RECORDS = 16
MOCK_QUESTIONS = 12


@dataclass(frozen=True)
class Study:
    """The claim of one paper put to the test.

    ``published``: the paper's figure, in words; ``shows``: what kind of thing a small testbed can show of it.
    ``designs`` builds the design of a testbed; ``minutes`` says how long those took that were run, on ``hardware``.
    ``expected`` is the direction that the paper would have.
    """

    paper: str
    claim: str
    published: str
    kind: Kind
    delta: float
    shows: Literal["mechanism", "efficiency", "capability"]
    expected: str
    designs: Mapping[str, Callable[[], Design | Association]]
    minutes: Mapping[str, float]
    hardware: str = "two CPU cores"
    cost: Cost | None = None
    effect: Effect | None = field(default=None, compare=False)

    def design(self, testbed: str, mock: bool = False) -> Design | Association:
        """The design for a testbed; ``mock``: everything once, in seconds, to see that it runs (no evidence).

        ValueError for a testbed that the study does not have.
        """
        if testbed not in self.designs:
            raise ValueError(
                f"the study of {self.paper} has no testbed {testbed!r}; it has {', '.join(self.designs)}"
            )
        made = self.designs[testbed]()
        if isinstance(made, Association):
            made = replace(made, testbed=testbed, claim=self.claim, kind=self.kind, delta=self.delta)
            return _mock_association(made) if mock else made
        made = replace(
            made, testbed=testbed, claim=self.claim, kind=self.kind, delta=self.delta, cost=self.cost
        )
        if self.effect is not None:
            made = replace(made, effect=self.effect)
        return _mock_comparison(made) if mock else made


def _mock_comparison(made: Design) -> Design:
    """Control, methods and the first context arm once, two steps each."""
    return replace(
        made,
        control=_few_records(made.control),
        methods=tuple(_few_records(arm) for arm in made.methods),
        context=tuple(_few_records(arm) for arm in made.context[:1]),
        steps=_two_steps(made.arms),
        questions=MOCK_QUESTIONS,
        trials=1,
        pairs=0,
        seeds=1,
        mock=True,
    )


def _mock_association(made: Association) -> Association:
    """The first two points and the last one, and the first context arm, two steps each."""
    return replace(
        made,
        points=tuple(_few_records(arm) for arm in (*made.points[:2], made.points[-1])),
        context=tuple(_few_records(arm) for arm in made.context[:1]),
        steps=_two_steps(made.arms),
        questions=MOCK_QUESTIONS,
        seeds=1,
        mock=True,
    )


def _two_steps(arms: Iterable[Arm]) -> dict[str, int]:
    return {stage["name"]: 2 for arm in arms for stage in arm.recipe["stages"]}


def _few_records(arm: Arm) -> Arm:
    """The arm with next to no records to read, for a mock."""
    few = {f"data.{name}.n": n for name, n in few_records(arm.recipe["data"]).items()}
    return replace(arm, recipe=changed(arm.recipe, {"set": few}, f"the mock of {arm.name}"))


def few_records(data: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many records of each of a recipe's data a mock reads; what draws from others, what these have."""
    return {
        name: min(MOCK_RECORDS, one.get("n") or MOCK_RECORDS)
        for name, one in data.items()
        if one["kind"] not in ("mixture", "subset", "relevant") or one.get("n") is not None
    }


def studies() -> list[str]:
    """The papers that have a study here: the modules that assign ``STUDY``, found without importing them."""
    import vitrail.studies as room

    places = [Path(place) for place in room.__path__]
    found = [
        file.stem
        for place in places
        for file in place.glob("*.py")
        if _DECLARES.search(file.read_text("utf-8"))
    ]
    return sorted(found)


_DECLARES = re.compile(r"^STUDY\b.*=", re.MULTILINE)


def study(name: str) -> Study:
    """The study of a paper. ValueError with the nearest name that has one."""
    known = studies()
    if name not in known:
        from vitrail.papers.catalogue import read

        why = f"there is no study of {name!r}; {nearest(name, known)}"
        if name in read():
            why = f"{name} has no study yet ({read()[name].state}); with one: {', '.join(known) or 'none'}"
        raise ValueError(why)
    return importlib.import_module(f"vitrail.studies.{name}").STUDY


def folder_of(name: str, testbed: str, mock: bool) -> Path:
    """Where a study keeps its cells: ``runs/study-<paper>-<testbed>``."""
    return Path("runs") / f"study-{name}-{testbed}{'-mock' if mock else ''}"


def plain_claim(made: Study) -> dict[str, Any]:
    """Claim and published figure, for tables."""
    return {"kind": made.kind, "text": made.claim, "published": made.published, "expected": made.expected}

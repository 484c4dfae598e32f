"""What studies measured: ``evidence/<paper>/<testbed>.json``, committed, and inside the wheel.

The catalogue reads it and shows it with its scope; ``vitrail.studies`` writes it. ``effect``, ``interval`` and
``delta`` are in the study's own unit, an improvement above zero.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrail.papers.catalogue import SHIPPED, checkout
from vitrail.papers.vocabulary import CLAIM_KINDS, VERDICTS, nearest

SCOPE = ("parameters", "tokens", "data", "hardware")


@dataclass(frozen=True)
class Evidence:
    """One verdict with what it rests on.

    ``effect`` and its 95 % ``interval`` are None where nothing could be measured (``"not testable here"``, whose
    ``reason`` says why). ``delta`` is the smallest effect that matters, ``n`` the number of what was ``counted``,
    ``scope`` the parameters, tokens, data and hardware that it holds for. ``path`` is the file.
    """

    paper: str
    testbed: str
    verdict: str
    date: str
    scope: Mapping[str, Any]
    effect: float | None = None
    interval: tuple[float, float] | None = None
    delta: float | None = None
    n: int | None = None
    claim_kind: str = ""
    commit: str = ""
    unit: str = ""
    reason: str = ""
    cells: tuple[Any, ...] = field(default=(), repr=False)
    path: Path | None = field(default=None, compare=False)

    @property
    def harm(self) -> bool:
        """The whole interval lies below zero: the method made it worse, or an association goes the other way."""
        return self.interval is not None and self.interval[1] < 0

    @property
    def over_arms(self) -> bool:
        """Whether the claim is about how two figures of many arms go together."""
        return self.claim_kind in ("association", "scaling law")

    @property
    def counted(self) -> str:
        """What ``n`` counts: paired seeds, or arms with several seeds each."""
        return "arms" if self.over_arms else "paired seeds"

    @property
    def harm_in_words(self) -> str:
        """What :attr:`harm` means."""
        return "it goes the other way" if self.over_arms else "it did harm"


def place() -> Path | None:
    """The folder of evidence: the checkout's, or the one inside an installed package; None where there is none."""
    root = checkout()
    folder = root / "evidence" if root else SHIPPED.parent / "evidence"
    return folder if folder.is_dir() else None


def evidence_of(id: str, folder: Path | str | None = None) -> tuple[Evidence, ...]:
    """The evidence on one paper, by testbed; () where nothing was measured. ValueError for a broken file."""
    root = Path(folder) if folder is not None else place()
    if root is None or not (root / id).is_dir():
        return ()
    return tuple(read_file(file) for file in sorted((root / id).glob("*.json")))


def newest(folder: Path | str | None = None) -> list[Evidence]:
    """All evidence, the newest first (of one day by paper and testbed)."""
    root = Path(folder) if folder is not None else place()
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root else []
    found = [one for name in names for one in evidence_of(name, root)]
    return sorted(found, key=lambda one: one.date, reverse=True)


def read_file(file: Path) -> Evidence:
    """One file. ValueError names file, field, value and remedy; fields that are not known are left alone."""
    name = f"evidence/{file.parent.name}/{file.name}"
    remedy = "run the study again: vitrail study " + file.parent.name

    def wrong(what: str) -> ValueError:
        return ValueError(f"{name}: {what}; {remedy}")

    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise wrong(f"is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise wrong(f"holds {type(values).__name__}, not an object")
    for key, expected in (("paper", file.parent.name), ("testbed", file.stem)):
        if values.get(key) != expected:
            raise wrong(f"{key} is {values.get(key)!r}, but the file's place says {expected!r}")
    verdict, date = str(values.get("verdict", "")), str(values.get("date", ""))
    if verdict not in VERDICTS:
        raise wrong(f"verdict is {verdict!r}; {nearest(verdict, VERDICTS)}")
    if not re.match(r"\d{4}-\d{2}-\d{2}", date):
        raise wrong(f"date is {date!r}, not year-month-day")
    scope = values.get("scope")
    if not isinstance(scope, dict) or any(key not in scope for key in SCOPE):
        raise wrong(f"scope is {scope!r}; a verdict needs its {', '.join(SCOPE)}")
    kind = str(values.get("claim_kind", ""))
    if kind and kind not in CLAIM_KINDS:
        raise wrong(f"claim_kind is {kind!r}; {nearest(kind, CLAIM_KINDS)}")
    interval = values.get("interval")
    if interval is not None:
        ends = [float(end) for end in interval if _finite(end)] if isinstance(interval, list) else []
        if len(ends) != 2 or len(interval) != 2 or ends[0] > ends[1]:
            raise wrong(f"interval is {interval!r}, not its two ends in order")
        interval = (ends[0], ends[1])
    effect, delta = values.get("effect"), values.get("delta")
    for key, number in (("effect", effect), ("delta", delta)):
        if number is not None and not _finite(number):
            raise wrong(f"{key} is {number!r}, not a number")
    if verdict != "not testable here" and (interval is None or effect is None):
        raise wrong(f"verdict is {verdict!r} without effect and interval")
    return Evidence(
        paper=file.parent.name,
        testbed=file.stem,
        verdict=verdict,
        date=date[:10],
        scope=scope,
        effect=None if effect is None else float(effect),
        interval=interval,
        delta=None if delta is None else float(delta),
        n=values.get("n"),
        claim_kind=kind,
        commit=str(values.get("commit", "")),
        unit=str(values.get("unit", "")),
        reason=str(values.get("reason", "")),
        cells=tuple(values.get("cells") or ()),
        path=file,
    )


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def summary(evidence: tuple[Evidence, ...]) -> str:
    """The verdict to show for a paper: its own, or ``"mixed"`` where testbeds differ; empty where none is there."""
    verdicts = {one.verdict for one in evidence}
    return "" if not verdicts else verdicts.pop() if len(verdicts) == 1 else "mixed"

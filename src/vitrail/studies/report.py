"""The HTML report of a comparison: a pure function of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKS: dict[str, Any] = {
    "seen": "good",
    "not seen": "info",
    "undecided": "info",
    "not testable here": "warning",
}


def write_report(folder: Path | str) -> Path | None:
    """Write ``report.html`` from ``outcome.json``; None where matplotlib is missing. ValueError without an outcome."""
    place = Path(folder)
    try:
        found = json.loads((place / "outcome.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{place} has no outcome yet: run the comparison to its end") from None
    try:
        return page_of(found).write(place / "report.html")
    except ImportError:
        return None


def page_of(found: Mapping[str, Any]) -> Any:
    """The page of an outcome."""
    from vitrail.reporting import Page

    first = found["contrasts"][0]
    page = Page(title=found["name"], subtitle=f"{first['verdict']} · {found['testbed']} · {found['date']}")
    _verdicts(page, found)
    if "points" in found:
        _points(page, found)
    if any("moves" in one for one in found["contrasts"]):
        _moves(page, found)
    _arms(page, found)
    _tuning(page, found)
    _background(page, found)
    return page


def _percent(found: Mapping[str, Any]) -> bool:
    return all(arm["unit"] == "share right" for arm in found["arms"].values())


def _verdicts(page: Any, found: Mapping[str, Any]) -> None:
    from vitrail.reporting import Notice, Text
    from vitrail.reporting.effects import Effect, Effects

    section = page.section("Verdict", found["claim"]["text"])
    rows = [
        Effect(one["method"], one["effect"], one["interval"][0], one["interval"][1], one["verdict"])
        for one in found["contrasts"]
        if one["effect"] is not None
    ]
    percent, first = _percent(found) and "unit" not in found, found["contrasts"][0]
    unit = "points of accuracy" if percent else str(found.get("unit", "nats a token, gained"))
    how = f"{first['method']} with {first['control']}, as claimed above zero"
    if rows:
        section.add(
            Effects(
                how if "points" in found else f"effect against {first['control']}, with its interval",
                rows,
                found["delta"],
                scale=100 if percent else 1,
                unit=unit,
            )
        )
    for one in found["contrasts"]:
        section.add(Notice(sentence(one, "points" in found), MARKS[one["verdict"]]))
    section.add(Text(f"The rule, fixed before the run: {found['rule']}."))
    scope = "; ".join(f"{name}: {value}" for name, value in found["scope"].items() if value)
    section.add(Text(f"This holds for: {scope}."))


def sentence(one: Mapping[str, Any], association: bool = False) -> str:
    """A contrast in words: verdict, reason, harm, cost."""
    parts = [f"{one['method']} {'with' if association else 'against'} {one['control']}: {one['verdict']}"]
    if one["why"]:
        parts.append(one["why"])
    if one["harm"]:
        said = "it goes the other way" if association else "it is worse"
        parts.append(f"the whole interval lies below zero: {said}")
    if one.get("cost"):
        cost = one["cost"]
        parts.append(
            f"{cost['measure']}: {cost['ratio']:.2f} of the control's (claimed {cost['at_most']:.2f} at most)"
        )
    if one["detectable"] is not None and one["verdict"] == "undecided":
        parts.append(
            f"with {one['n']} pairs an effect of {one['detectable']:.3g} would be found four times in five"
        )
    return "; ".join(parts) + "."


def _points(page: Any, found: Mapping[str, Any]) -> None:
    """Every arm by both figures, and the other figures that were held against the second."""
    from vitrail.reporting import DataTable
    from vitrail.reporting.scatter import Point, Scatter

    first = found["contrasts"][0]
    x, y, points = first["method"], first["control"], found["points"]
    section = page.section("The arms", "Means over seeds, with the spread of the seeds.")
    if points:
        shown = [
            Point(one["arm"], one[x], one[y], one["spread"][x] or 0.0, one["spread"][y] or 0.0)
            for one in points
        ]
        section.add(Scatter(f"{x} and {y}", shown, x, y))
        figures = [name for name in points[0] if name not in ("arm", "spread")]
        rows = [(one["arm"], *(one[name] for name in figures)) for one in points]
        section.add(DataTable(("arm", *figures), rows, caption="Means over seeds."))
    if found["indicators"]:
        rows = [
            (one["name"], "falls" if one["sign"] < 0 else "rises",
             *_figures(one), *_figures(one.get("x ahead")), one["why"])
            for one in found["indicators"]
        ]  # fmt: skip
        columns = ("figure", "expected", "ρ × sign", "low", "high", f"{x} ahead by", "low", "high", "")
        section.add(DataTable(columns, rows, caption=f"How closely each goes with {y}; context, no verdict."))


def _moves(page: Any, found: Mapping[str, Any]) -> None:
    """What every ability lost in each arm, points with their intervals."""
    from vitrail.reporting import DataTable

    judged = [one for one in found["contrasts"] if "moves" in one]
    abilities = list(judged[0]["moves"])
    section = page.section("What each ability lost", "Points of accuracy, the control's less the arm's.")
    rows = [(one["method"], *(_move(one["moves"][ability]) for ability in abilities)) for one in judged]
    section.add(
        DataTable(("arm", *abilities), rows, caption="Its own ability should fall, and no other move.")
    )


def _move(one: Mapping[str, Any]) -> str:
    low, high = one["interval"]
    return f"{100 * one['effect']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _figures(one: Mapping[str, Any] | None) -> tuple[Any, Any, Any]:
    if one is None or one["effect"] is None:
        return (None, None, None)
    return (one["effect"], *one["interval"])


def _arms(page: Any, found: Mapping[str, Any]) -> None:
    from vitrail.reporting import Bars, DataTable

    arms = found["arms"]
    section = page.section("What each arm reached and cost", "Means over seeds.")
    kinds = sorted({kind for arm in arms.values() for kind in arm["by_kind"]})
    if _percent(found) and kinds:
        chance = [next((arm["chance"] for arm in arms.values()), None)] * len(kinds)
        marks = {"chance": chance} if chance[0] is not None else {}
        series = {name: [_bar(arm["by_kind"].get(kind)) for kind in kinds] for name, arm in arms.items()}
        section.add(Bars("right answers by kind of question", kinds, series, marks))
    costs = ("train_seconds", "peak_bytes", "flops", "parameters", "trained", "samples", "tokens")
    section.add(
        DataTable(
            ("arm", "seeds", "score", "spread", *costs),
            [
                (name, arm["n"], round(arm["score"], 4), arm["sd"], *(arm["costs"][cost] for cost in costs))
                for name, arm in arms.items()
            ],
        )
    )
    if "points" in found:
        return
    section.add(
        DataTable(
            ("pair", *(one["method"] for one in found["contrasts"])),
            [
                (
                    pair + 1,
                    *(
                        one["differences"][pair] if pair < len(one["differences"]) else None
                        for one in found["contrasts"]
                    ),
                )
                for pair in range(max(len(one["differences"]) for one in found["contrasts"]))
            ],
            caption="Difference from the control, pair by pair.",
        )
    )


def _bar(value: float | None) -> tuple[float, float, float] | None:
    return None if value is None else (value, value, value)


def _tuning(page: Any, found: Mapping[str, Any]) -> None:
    from vitrail.reporting import DataTable, Text

    section = page.section("Tuning", "On the development fold, as many trials for every arm.", folded=True)
    rows = [
        (name, trial["factor"], ", ".join(f"{k}={v}" for k, v in trial["settings"].items()) or "–", trial["score"],
         "chosen" if trial["factor"] == tuned["factor"] and trial["settings"] == tuned["settings"] else "")
        for name, tuned in found["tuning"].items()
        for trial in sorted(tuned["trials"], key=lambda one: one["factor"])
    ]  # fmt: skip
    if not rows:
        section.add(Text("The learning rates were given; nothing was tuned."))
        return
    section.add(DataTable(("arm", "learning rates ×", "settings", "score", ""), rows))


def _background(page: Any, found: Mapping[str, Any]) -> None:
    from vitrail.reporting import KeyValues

    section = page.section("Seeds, lengths, environment", folded=True)
    section.add(
        KeyValues({"seeds": found["seeds"], "length": found["length"], "environment": found["environment"]})
    )

"""Scores as parts of a page: bars by kind of question, a benchmark's own figures, what they cover.

``conditions`` are scores by the name that a reader sees: ``trained`` and ``blind`` of a model, or models side by side.
The first is the one that the others are held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitrail.evaluation.figures import Figure
from vitrail.evaluation.scores import Rate, Scores

CONDITIONS = {
    "trained": "the trained model",
    "blind": "the trained model, every picture grey",
    "untrained": "the model before training",
}
Conditions = Mapping[str, Scores]


def first_of(conditions: Conditions) -> Scores:
    """The scores of the first condition, which the others are held against."""
    return next(iter(conditions.values()))


def percent(share: float | None) -> str:
    """A share in whole percent; a dash for None."""
    return "–" if share is None else f"{100 * share:.0f} %"


def figure_cell(figure: Figure | None) -> str:
    """A figure in percent with its interval."""
    if figure is None or figure.value is None or figure.interval is None:
        return percent(figure.value if figure else None)
    low, high = figure.interval
    return f"{100 * figure.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def rate_cell(rate: Rate | None) -> str:
    """A rate in percent, or a mean loss, with its interval."""
    if rate is None:
        return "–"
    if rate.loss is not None:
        ends = rate.loss_interval
        return f"{rate.loss:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")
    return figure_cell(Figure("", rate.accuracy, rate.interval, rate.n))


def headline(task: str, conditions: Conditions) -> tuple[str, str, str]:
    """Name, figure and detail of an evaluation: the official headline, or the share of right answers."""
    name, first = next(iter(conditions.items()))
    if first.overall.loss is not None:
        parts = [f"{other} {one.overall.loss:.3f}" for other, one in conditions.items() if other != name]
        return task, f"{first.overall.loss:.3f}", "; ".join([f"{name}; {_spread(first.overall)}", *parts])
    figures = {other: _headline_of(one) for other, one in conditions.items()}
    mine = figures[name]
    parts = [f"{other} {percent(one.value)}" for other, one in figures.items() if other != name]
    parts += [f"chance {percent(mine.random)}"] if mine.random is not None else []
    unread = first.overall.unparsed
    parts += [f"{unread} of its answers could not be read"] if unread else []
    spread = f"{mine.n} questions"
    if mine.interval is not None:
        spread = f"{100 * mine.interval[0]:.0f} to {100 * mine.interval[1]:.0f} % ({mine.n} questions)"
    called = task if mine.name in ("", "overall") else f"{task}: {mine.name}"
    return called, percent(mine.value), "; ".join([f"{name}; {spread}", *parts])


def _headline_of(one: Scores) -> Figure:
    if one.official is not None and one.official.figures:
        return one.official.figures[0]
    overall = one.overall
    return Figure("", overall.accuracy, overall.interval, overall.n, overall.chance, overall.majority)


def _spread(rate: Rate) -> str:
    if rate.loss_interval is None:
        return f"{rate.n} questions"
    low, high = rate.loss_interval
    return f"{low:.3f} to {high:.3f} nats a token ({rate.n} answers)"


def kind_bars(task: str, conditions: Conditions) -> Any:
    """Right answers by kind of question, conditions side by side, with marks of chance and of the majority guess."""
    from vitrail.reporting import Bars

    first = first_of(conditions)
    kinds = [*first.by_kind, *(["all"] if len(first.by_kind) > 1 else [])]

    def of(one: Scores, kind: str) -> Rate | None:
        return one.by_kind.get(kind, one.overall if kind == "all" else None)

    def bar(rate: Rate | None) -> tuple[float, float, float] | None:
        if rate is None or rate.accuracy is None:
            return None
        low, high = rate.interval or (rate.accuracy, rate.accuracy)
        return rate.accuracy, low, high

    marks = {
        name: values
        for name in ("chance", "majority")
        if any(values := [getattr(of(first, kind), name, None) for kind in kinds])
    }
    series = {name: [bar(of(one, kind)) for kind in kinds] for name, one in conditions.items()}
    known = [f"{name}: {CONDITIONS[name]}" for name in conditions if name in CONDITIONS]
    note = f"{'; '.join(known)}." if known else ""
    return Bars(f"{task}: right answers by kind of question", kinds, series, marks, note=note)


def official_table(task: str, conditions: Conditions) -> list[Any]:
    """A benchmark's own figures, conditions beside chance and the majority guess, and what they cover."""
    from vitrail.reporting import DataTable, Notice

    scored = {name: one.official for name, one in conditions.items() if one.official is not None}
    if not scored:
        return []
    first = next(iter(scored.values()))
    found = {name: {figure.name: figure for figure in one.figures} for name, one in scored.items()}
    rows = [
        (
            figure.name,
            *(figure_cell(found[name].get(figure.name)) for name in scored),
            percent(figure.random),
            percent(figure.majority),
            figure.n,
        )
        for figure in first.figures
    ]
    columns = ("figure", *scored, "random", "majority", "n")
    covers = [f"{name} covers {one.coverage}" for name, one in scored.items()]
    caption = f"{task}: the official score of {first.benchmark}, with 95 % intervals"
    return [
        DataTable(columns, rows, caption=caption),
        Notice(f"{'; '.join(covers)}. {' '.join(first.notes)}"),
    ]


def coverage_table(task: str, conditions: Conditions) -> list[Any]:
    """How many rows each figure covers, and what was left out."""
    from vitrail.reporting import DataTable, Notice

    columns = (
        "condition",
        "questions",
        "right",
        "wrong",
        "unreadable answers",
        "ties",
        "set aside",
        "not asked",
    )
    rows = [
        (name, one.overall.n, one.overall.right, one.overall.wrong, one.overall.unparsed, one.overall.ties,
         one.set_aside + one.unread, one.missing)
        for name, one in conditions.items()
    ]  # fmt: skip
    shown: list[Any] = [DataTable(columns, rows, caption=f"{task}: what the figures cover")]
    guess = first_of(conditions).overall.majority
    if guess is not None:
        text = (
            f"{task}: the best guess from the options alone, without a picture, is right in {percent(guess)}."
        )
        shown.append(Notice(text))
    reasons = {reason: count for one in conditions.values() for reason, count in one.reasons.items()}
    if reasons:
        listed = "; ".join(f"{reason} ({count})" for reason, count in list(reasons.items())[:5])
        shown.append(Notice(f"Set aside: {listed}", "warning"))
    return shown


def fingerprint_table(prints: Mapping[tuple[str, str], Mapping[str, str]]) -> Any:
    """Fingerprints of what answers depend on, by task and condition."""
    from vitrail.reporting import DataTable

    rows = [
        (task, name, kind, value) for (task, name), found in prints.items() for kind, value in found.items()
    ]
    columns = ("task", "condition", "of", "fingerprint")
    return DataTable(columns, rows, caption="Fingerprints of what the answers depend on")

"""A benchmark's official score as text: figures down, conditions and baselines across, and what they cover."""

from __future__ import annotations

from typing import Any

from vitrail.cli.output import print_table


def print_official(task: str, conditions: dict[str, dict[str, Any]]) -> None:
    """One table a benchmark. Beside the model: itself without pictures, a random option, the majority guess."""
    names = [name for name, one in conditions.items() if one.get("official")]
    figures = {name: {one["name"]: one for one in conditions[name]["official"]["figures"]} for name in names}
    first = conditions[names[0]]["official"]
    rows = []
    for one in first["figures"]:
        cells = [_cell(figures[name].get(one["name"])) for name in names]
        rows.append(
            (one["name"], *cells, _percent(one["random"]), _percent(one["majority"]), f"{one['n']:,}")
        )
    columns = ("figure", *names, "random", "majority", "n")
    title = f"{task}: {first['benchmark']}, official score in % with 95 % interval"
    print_table(title, columns, rows, right=range(1, len(columns)))
    for name in names:
        print(f"{name}: covers {coverage(conditions[name]['official'])}{_unparsed(conditions[name])}")
    for note in first["notes"]:
        print(note)


def coverage(official: dict[str, Any]) -> str:
    """See :attr:`vitrail.evaluation.figures.Official.coverage`."""
    from vitrail.evaluation.figures import Official

    return Official(**official).coverage


def _unparsed(score: dict[str, Any]) -> str:
    return f"; {score['unparsed']:,} answers could not be read" if score.get("unparsed") else ""


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    ends = figure["interval"]
    shown = f"{100 * figure['value']:.1f}"
    return shown if not ends else f"{shown} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"

"""Verdicts as one HTML page: each picture with its rules, what decided every condition, and what was erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrail.evaluation.verdict_files import VerdictFile, word_of
from vitrail.inference.verdicts import explained
from vitrail.reporting import DataTable, Headline, KeyValues, Page, embed
from vitrail.reporting.pictures import box

ORDER = ("unsafe", "undecided", "safe")
MOST = 200
"""Pictures on a page."""


def write_page(found: VerdictFile, out: Path | str, *, most: int = MOST, title: str = "") -> Path:
    """Write the page, the unsafe first; pictures are read where they are. Returns where it is."""
    counts = found.counts()
    model = str(found.header.get("model", ""))
    page = Page(title or "Pictures judged by a constitution", f"{model}, {len(found.rows):,} pictures")
    page.section("Verdicts").add(
        Headline([(word.replace("_", " "), f"{n:,}", "") for word, n in counts.items()]),
        DataTable(("rule", "what no picture may show", "broken by"), _rules(found)),
    )
    rows = sorted(found.judged, key=lambda row: ORDER.index(word_of(row["verdict"])))
    for row in rows[:most]:
        _picture(page, row)
    if len(rows) > most:
        page.section("More").add(KeyValues({"pictures not shown": len(rows) - most}))
    if found.set_aside:
        table = DataTable(("picture", "why"), [(row["picture"], row["reason"]) for row in found.set_aside])
        page.section("Set aside").add(table)
    page.section("How they were judged", folded=True).add(KeyValues(dict(found.header.get("settings", {}))))
    return page.write(out)


def _rules(found: VerdictFile) -> list[tuple[Any, ...]]:
    rules = found.header["constitution"]["rules"]
    broken = [one for row in found.judged for one in row["verdict"]["violated"]]
    return [(rule["id"], rule["text"], broken.count(rule["id"])) for rule in rules]


def _picture(page: Page, row: Mapping[str, Any]) -> None:
    verdict, path = row["verdict"], Path(row["picture"])
    names = ", ".join([*verdict["violated"], *(f"{one} (undecided)" for one in verdict["undecided"])])
    section = page.section(f"{word_of(verdict)}: {path.name}", names, folded=bool(verdict["safe"]))
    erased = _erased(verdict["trace"])
    try:
        shapes = [box(x1, y1, x2, y2, condition) for condition, (x1, y1, x2, y2) in erased.items()]
        section.add(embed(path.read_bytes(), path.name, shapes))
    except (OSError, ValueError) as error:
        section.add(KeyValues({"the picture is not shown": " ".join(str(error).split())}))
    section.add(
        DataTable(("rule", "relevance", "clause", "condition", "holds", "why"), _steps(verdict["trace"]))
    )


def _erased(trace: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[float]]:
    conditions = [one for rule in trace for clause in rule.get("clauses", ()) for one in clause["conditions"]]
    return {one["condition"]: one["box"] for one in conditions if "box" in one}


def _steps(trace: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for rule in trace:
        if not rule["kept"]:
            rows.append((rule["rule"], rule["relevance"], None, "", "", "not looked at"))
        for number, clause in enumerate(rule.get("clauses", ()), 1):
            for one in clause["conditions"]:
                holds = {True: "yes", False: "no", None: "undecided"}[one["holds"]]
                rows.append(
                    (rule["rule"], rule.get("relevance"), number, one["condition"], holds, explained(one))
                )
    return rows

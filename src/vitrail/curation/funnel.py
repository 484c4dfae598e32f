"""The funnel of a curated folder: how many documents came to each operation, what left and why, with samples; how long
documents are that stayed; duplicates in pairs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vitrail.curation.counts import OperationCounts, add_up
from vitrail.curation.distributions import MEASURES, Distributions, middle, table
from vitrail.curation.running import FUNNEL, PIPELINE
from vitrail.reporting.page import Page
from vitrail.reporting.tables import Code, DataTable, Headline


def read_funnel(folder: Path | str) -> list[OperationCounts]:
    """The counts of a finished run, checked. ValueError for a folder that holds none."""
    rows = _rows(folder)["operations"]
    return add_up([[OperationCounts.from_json(values) for values in rows]])


def _rows(folder: Path | str) -> dict[str, Any]:
    path = Path(folder) / FUNNEL
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no finished run of a pipeline ({FUNNEL} is not there); run it with: "
            "vitrail data run PIPELINE --out DIR"
        )
    return dict(json.loads(path.read_text(encoding="utf-8")))


COLUMNS = ("operation", "seen", "kept", "kept %", "changed", "dropped", "set aside", "parts removed")


def rows_of(counts: list[OperationCounts]) -> list[tuple[Any, ...]]:
    """A row for each operation, under :data:`COLUMNS`."""
    return [
        (
            one.name, one.seen, one.kept, round(100 * one.kept / one.seen, 1) if one.seen else None, one.changed,
            sum(one.dropped.values()), sum(one.set_aside.values()), sum(one.parts_removed.values()),
        )
        for one in counts
    ]  # fmt: skip


def reasons_of(counts: list[OperationCounts]) -> list[tuple[str, str, str, int]]:
    """Operation, what left (documents or parts), reason, how many: most frequent first within each."""
    rows: list[tuple[str, str, str, int]] = []
    for one in counts:
        for what, by_reason in (
            ("dropped", one.dropped),
            ("set aside", one.set_aside),
            ("parts", one.parts_removed),
        ):
            ordered = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
            rows += [(one.name, what, reason, number) for reason, number in ordered]
    return rows


def languages_of(counts: list[OperationCounts]) -> list[tuple[str, str, int, int]]:
    """Operation, language, seen, kept: for operations to which documents with a language came."""
    return [
        (one.name, language, seen, kept)
        for one in counts
        for language, (seen, kept) in sorted(one.languages.items())
        if language
    ]


def page_of(folder: Path | str) -> Page:
    """The report as a page."""
    folder = Path(folder)
    counts = read_funnel(folder)
    first, last = counts[0], counts[-1]
    page = Page(title="Curation", subtitle=folder.name)
    share = f"{100 * last.kept / first.seen:.1f} %" if first.seen else "–"
    aside = sum(sum(one.set_aside.values()) for one in counts)
    figures = [
        ("Read", f"{first.seen:,}", "documents and other rows"),
        ("Kept", f"{last.kept:,}", share),
        ("Set aside", f"{aside:,}", "could not be read or judged"),
    ]
    page.section("Documents").add(Headline(figures), DataTable(COLUMNS, rows_of(counts)))
    page.section("Why").add(DataTable(("operation", "what", "reason", "count"), reasons_of(counts)))
    if languages_of(counts):
        section = page.section("Languages", folded=True)
        section.add(DataTable(("operation", "language", "seen", "kept"), languages_of(counts)))
    rows = _rows(folder)
    _distributions(page, rows.get("distributions", {}))
    for name, pairs in rows.get("duplicates", {}).items():
        columns = tuple(pairs[0])
        section = page.section(f"Duplicates: {name}", "The first pairs, as they came to it.", folded=True)
        section.add(DataTable(columns, [tuple(pair[column] for column in columns) for pair in pairs]))
    for one in counts:
        shown = [
            (label, str(row["id"]), row["text"], row.get("detail", ""))
            for label, rows in sorted(one.samples.items())
            for row in rows
        ]
        if shown:
            section = page.section(f"Samples: {one.name}", folded=True)
            section.add(DataTable(("outcome", "document", "text before", "detail"), shown))
    page.section("The pipeline", folded=True).add(
        Code((folder / PIPELINE).read_text(encoding="utf-8"), language="yaml")
    )
    return page


def _distributions(page: Page, found: Distributions) -> None:
    if not found:
        return
    section = page.section("What stayed", "Documents in steps that double.")
    rows = [
        (language or "–", sum(measures["texts"].values()), *(middle(measures[name]) for name in MEASURES))
        for language, measures in found.items()
    ]
    names = ("language", "documents", *(f"{name}, median in" for name in MEASURES))
    section.add(DataTable(names, rows))
    for name in MEASURES:
        section.add(DataTable((f"{name} of a document", "documents", "%"), table(found, name)))

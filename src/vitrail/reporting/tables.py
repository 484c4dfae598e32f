"""Figures in text: headline numbers, pairs, tables, code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrail.reporting.page import number, render


@dataclass(frozen=True)
class Headline:
    """Large figures side by side: ``(label, figure, detail)``, as ``("Known", "72 %", "68 to 76")``."""

    figures: Sequence[tuple[str, str, str]]

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        return render("headline", figures=self.figures)


@dataclass(frozen=True)
class KeyValues:
    """Names and values. Mappings inside become ``name.name`` rows, lists a line joined by commas."""

    values: Mapping[str, Any]
    caption: str = ""

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        return render("key_values", rows=list(_flat(self.values)), caption=self.caption)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Any:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(number(item) for item in value) or "–"
        else:
            yield f"{prefix}{name}", number(value)


@dataclass(frozen=True)
class DataTable:
    """Rows under headed columns; numbers are set to the right. ValueError for a row of another length.

    ``emphasis`` are indices of rows to be set in bold (totals).
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    emphasis: Sequence[int] = ()

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {index} has {len(row)} cells under {len(self.columns)} columns: {row!r}."
                )

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        numeric = [
            any(row[column] is not None for row in self.rows)
            and all(isinstance(row[column], (int, float, type(None))) for row in self.rows)
            for column in range(len(self.columns))
        ]
        return render("data_table", table=self, numeric=numeric)


@dataclass(frozen=True)
class Code:
    """A block of code, with its ``language`` as a label."""

    code: str
    language: str = ""

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        return render("code", block=self)

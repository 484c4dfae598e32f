"""A live table of a comparison under way."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any


class Quiet:
    """Says nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        """Nothing."""

    def cells(self, phase: str, done: int, of: int, rows: Mapping[str, Sequence[float]]) -> None:
        """Nothing."""


class LiveTable(Quiet):
    """On a terminal a table that is drawn anew; in a pipe a line a cell. Goes to standard error."""

    def __init__(self) -> None:
        self._live: Any = None
        self._begun: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> LiveTable:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=sys.stderr, highlight=False), auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)
            self._live = None

    def note(self, text: str) -> None:
        """A line above the table."""
        if self._live is not None:
            self._live.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def cells(self, phase: str, done: int, of: int, rows: Mapping[str, Sequence[float]]) -> None:
        """The arms' scores so far, and about how long the phase still takes."""
        left = self._left(phase, done, of)
        if self._live is None:
            said = ", ".join(f"{name} {mean(scores):.4g}" for name, scores in rows.items())
            print(f"{phase}: {done} of {of}{left}; {said}", file=sys.stderr, flush=True)
            return
        from rich.table import Table

        table = Table(title=f"{phase}: {done} of {of}{left}", title_justify="left", box=None, pad_edge=False)
        for position, column in enumerate(("arm", "cells", "mean", "spread", "last")):
            table.add_column(column, justify="right" if position else "left")
        for name, scores in rows.items():
            spread = f"{stdev(scores):.4f}" if len(scores) > 1 else "–"
            table.add_row(name, str(len(scores)), f"{mean(scores):.4f}", spread, f"{scores[-1]:.4f}")
        self._live.update(table, refresh=True)

    def _left(self, phase: str, done: int, of: int) -> str:
        """From the pace since the phase's first report; what was stored before costs nothing."""
        from vitrail.cli.output import duration

        now = time.monotonic()
        begun, first = self._begun.setdefault(phase, (now, done))
        if done == of or done - first < 2:
            return ""
        return f", about {duration((now - begun) / (done - first) * (of - done))} left"

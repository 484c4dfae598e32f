"""How many documents came to an operation, and what became of each: counts that must add up.

    seen = kept + Σ dropped by reason + Σ set aside by reason

is checked whenever counts are added or read; so is the same sum over parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vitrail.curation.operations.operation import Outcome, language_of
from vitrail.data.records import Document

SAMPLES = 3
"""Documents shown for each reason of each operation in a partition."""
SAMPLE_CHARACTERS = 240


@dataclass
class OperationCounts:
    """The documents of one operation. ``parts_in`` and ``parts_out`` count texts, pictures and other parts."""

    name: str
    seen: int = 0
    kept: int = 0
    changed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    parts_in: int = 0
    parts_out: int = 0
    parts_removed: Counter[str] = field(default_factory=Counter)
    parts_gone: int = 0
    parts_added: int = 0
    languages: dict[str, list[int]] = field(default_factory=dict)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, before: Document, outcome: Outcome) -> None:
        """Count one outcome."""
        after, removed = outcome.document, sum(outcome.removed.values())
        self.seen += 1
        self.parts_in += len(before.content)
        self.parts_removed.update(outcome.removed)
        language = self.languages.setdefault(language_of(after or before), [0, 0])
        language[0] += 1
        if after is None:
            self.dropped[outcome.reason] += 1
            self.parts_gone += len(before.content) - removed
        else:
            self.kept += 1
            self.changed += outcome.changed
            language[1] += 1
            self.parts_out += len(after.content)
            self.parts_added += len(after.content) - len(before.content) + removed
        self._sample(outcome.reason or ("changed" if outcome.changed else "kept"), before)

    def add_read(self, document: Document) -> None:
        """Count a document that a reader gave."""
        self.seen += 1
        self.kept += 1
        self.parts_out += len(document.content)
        self.parts_added += len(document.content)
        language = self.languages.setdefault(language_of(document), [0, 0])
        language[0], language[1] = language[0] + 1, language[1] + 1

    def add_fault(self, before: Document | None, reason: str, detail: str, place: str = "") -> None:
        """Count a document, or a place in a file, that was set aside."""
        self.seen += 1
        self.set_aside[reason] += 1
        if before is not None:
            self.languages.setdefault(language_of(before), [0, 0])[0] += 1
            self.parts_in += len(before.content)
            self.parts_gone += len(before.content)
        self._sample(reason, before, detail, place)

    def add_unread(self, reason: str) -> None:
        """Count what a reader passes over because it is no document (a request in a WARC file)."""
        self.seen += 1
        self.dropped[reason] += 1

    def _sample(self, label: str, document: Document | None, detail: str = "", place: str = "") -> None:
        shown = self.samples.setdefault(label, [])
        if len(shown) < SAMPLES:
            text = (
                " ⏎ ".join(part.text for part in document.content if part.type == "text") if document else ""
            )
            row = {"id": document.id if document else place, "text": text[:SAMPLE_CHARACTERS]}
            shown.append({**row, "detail": detail} if detail else row)

    def check(self) -> OperationCounts:
        """Itself; RuntimeError if documents or parts do not add up."""
        accounted = self.kept + sum(self.dropped.values()) + sum(self.set_aside.values())
        if self.seen != accounted:
            raise RuntimeError(f"{self.name}: {self.seen:,} documents seen, {accounted:,} accounted for")
        parts = self.parts_out + sum(self.parts_removed.values()) + self.parts_gone - self.parts_added
        if self.parts_in != parts:
            raise RuntimeError(f"{self.name}: {self.parts_in:,} parts seen, {parts:,} accounted for")
        return self

    def __add__(self, other: OperationCounts) -> OperationCounts:
        assert self.name == other.name
        total = OperationCounts(self.name)
        for one in (self, other):
            for name in ("seen", "kept", "changed", "parts_in", "parts_out", "parts_gone", "parts_added"):
                setattr(total, name, getattr(total, name) + getattr(one, name))
            for name in ("dropped", "set_aside", "parts_removed"):
                getattr(total, name).update(getattr(one, name))
            for language, (seen, kept) in one.languages.items():
                row = total.languages.setdefault(language, [0, 0])
                row[0], row[1] = row[0] + seen, row[1] + kept
            for label, rows in one.samples.items():
                shown = total.samples.setdefault(label, [])
                shown += rows[: SAMPLES - len(shown)]
        return total

    def as_json(self) -> dict[str, Any]:
        """Plain values, keys sorted, checked."""
        self.check()
        values = dict(vars(self))
        for name in ("dropped", "set_aside", "parts_removed", "languages", "samples"):
            values[name] = dict(sorted(values[name].items()))
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> OperationCounts:
        """The reverse of :meth:`as_json`, checked."""
        counters = {name: Counter(values[name]) for name in ("dropped", "set_aside", "parts_removed")}
        return cls(**{**values, **counters}).check()


def add_up(partitions: Iterable[list[OperationCounts]]) -> list[OperationCounts]:
    """The counts of several partitions, operation by operation; each operation passes on what it kept."""
    total: list[OperationCounts] = []
    for counts in partitions:
        total = [a + b for a, b in zip(total, counts, strict=True)] if total else list(counts)
    for before, after in pairwise(total):
        if before.kept != after.seen:
            raise RuntimeError(
                f"{before.name} kept {before.kept:,} documents, but {after.seen:,} came to {after.name}"
            )
    return [one.check() for one in total]

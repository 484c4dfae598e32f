"""Where records come from: the ``Source`` protocol, sources made of others, and what was set aside.

A source gives the same records in the same order each time, whoever reads them. Its ``fingerprint`` changes
when its records change, and is what caches and answers files are keyed by.
"""

from __future__ import annotations

import bisect
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vitrail.data.media import rebase
from vitrail.data.records import Record
from vitrail.storage.cache import key


@runtime_checkable
class Source(Protocol):
    """Records with a name, a fingerprint, a length and random access.

    ``root`` is the folder under which relative paths of pictures are looked up; None where the records carry
    their bytes. An optional attribute ``set_aside`` (:class:`SetAside`) tells what was left out, and why.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def root(self) -> Path | None: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Record: ...
    def __iter__(self) -> Iterator[Record]: ...


@dataclass(frozen=True)
class BadRow:
    """One row that cannot be a record: where it stands, which field, and why.

    ``line`` counts from 1; ``word`` says what it counts: lines of a text, rows, samples.
    """

    file: str
    line: int
    field: str
    reason: str
    id: str | None = None
    word: str = "line"

    def __str__(self) -> str:
        place = f"{self.file}, {self.word} {self.line}" + (f", {self.field}" if self.field else "")
        return f"{place}: {self.reason}"


@dataclass
class SetAside:
    """What was read and what became of it. ``used + len(rows) == seen`` always; blank lines are no rows."""

    used: int = 0
    rows: list[BadRow] = field(default_factory=list)
    blank_lines: int = 0

    @property
    def seen(self) -> int:
        """Rows read: those used and those set aside."""
        return self.used + len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, other: SetAside) -> SetAside:
        return SetAside(self.used + other.used, self.rows + other.rows, self.blank_lines + other.blank_lines)

    def by_field(self) -> dict[str, int]:
        """How many rows were set aside for each field, most frequent first, list positions left out."""
        counts = Counter(_without_positions(row.field) or "the row" for row in self.rows)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def sentence(self) -> str:
        """The counts in words, for a log or a terminal."""
        if not self.rows:
            return f"{self.seen:,} rows read, all used."
        fields = ", ".join(f"{count:,} for {name}" for name, count in self.by_field().items())
        return f"{self.seen:,} rows read: {self.used:,} used, {len(self.rows):,} set aside ({fields})."


def _without_positions(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


class RandomAccess:
    """What sources share: iteration in order, negative indices. A subclass gives ``__len__`` and
    ``_record``.
    """

    name: str
    fingerprint: str
    root: Path | None
    set_aside: SetAside

    def __len__(self) -> int:
        raise NotImplementedError

    def _record(self, index: int) -> Record:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Record:
        if not isinstance(index, int) and not hasattr(index, "__index__"):
            raise TypeError(
                f"a source is indexed by whole numbers, not {type(index).__name__}; see take(), select()."
            )
        place = index.__index__()
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"record {index} of {self.name!r}, which has {len(self)}")
        return self._record(place)

    def __iter__(self) -> Iterator[Record]:
        return (self._record(index) for index in range(len(self)))


class ListSource(RandomAccess):
    """Records held in memory. The fingerprint is a hash of their content (bytes of pictures included)."""

    def __init__(self, records: Sequence[Record], name: str = "list", root: Path | str | None = None):
        self.name = name
        self.root = Path(root) if root is not None else None
        self.set_aside = SetAside(used=len(records))
        self._records = tuple(records)
        self.fingerprint = key("list", *(record.model_dump(mode="json") for record in self._records))

    def __len__(self) -> int:
        return len(self._records)

    def _record(self, index: int) -> Record:
        return self._records[index]


class _Selection(RandomAccess):
    def __init__(self, source: Source, indices: Sequence[int], name: str, fingerprint: str):
        self.name, self.fingerprint, self.root = name, fingerprint, source.root
        self.set_aside = SetAside(used=len(indices))
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def _record(self, index: int) -> Record:
        return self._source[int(self._indices[index])]


def select(source: Source, indices: Sequence[int], name: str | None = None) -> Source:
    """The records at ``indices``, in that order. IndexError for one that is not there."""
    for index in indices:
        if not 0 <= index < len(source):
            raise IndexError(f"record {index} of {source.name!r}, which has {len(source)}")
    chosen = [int(index) for index in indices]
    fingerprint = key("select", source.fingerprint, chosen)
    return _Selection(source, chosen, name or f"{source.name}[{len(chosen)} chosen]", fingerprint)


def take(source: Source, n: int, start: int = 0) -> Source:
    """``n`` records from ``start`` on. ValueError when the source has fewer."""
    if n < 0 or start < 0 or start + n > len(source):
        raise ValueError(
            f"records {start} to {start + n} were asked of {source.name!r}, which has {len(source)}."
        )
    fingerprint = key("take", source.fingerprint, start, n)
    return _Selection(source, range(start, start + n), f"{source.name}[{start}:{start + n}]", fingerprint)


def shuffle(source: Source, seed: int) -> Source:
    """All records in an order that depends on ``seed`` and the length alone."""
    import numpy as np

    # Raw bits of a bit generator never change between numpy's versions; those of Generator.permutation may.
    draws = np.random.Philox(key=seed).random_raw(len(source))
    order = np.argsort(draws, kind="stable").tolist()
    return _Selection(source, order, f"{source.name} shuffled", key("shuffle", source.fingerprint, seed))


class _Concatenation(RandomAccess):
    def __init__(self, sources: Sequence[Source], name: str):
        self.name = name
        self.fingerprint = key("concat", *(source.fingerprint for source in sources))
        roots = {Path(os.path.abspath(source.root)) for source in sources if source.root is not None}
        self.root = Path(os.path.commonpath(roots)) if roots else None
        self.set_aside = sum((set_aside_of(source) for source in sources), SetAside())
        self._sources = list(sources)
        self._prefixes = [
            Path(os.path.abspath(source.root)).relative_to(self.root).as_posix()
            if source.root and self.root
            else "."
            for source in sources
        ]
        self._ends = [sum(len(source) for source in sources[: i + 1]) for i in range(len(sources))]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _record(self, index: int) -> Record:
        which = bisect.bisect_right(self._ends, index)
        source, start = self._sources[which], self._ends[which] - len(self._sources[which])
        return rebase(source[index - start], self._prefixes[which])


def concat(*sources: Source, name: str | None = None) -> Source:
    """The records of several sources, one source after the other.

    Sources in different folders get their common parent as ``root``; their records' relative paths are made
    relative to it.
    """
    if not sources:
        raise ValueError("concat() needs at least one source.")
    return _Concatenation(sources, name or " + ".join(source.name for source in sources))


class _Mapped(_Selection):
    def __init__(self, source: Source, change: Callable[[Record], Record], name: str, fingerprint: str):
        super().__init__(source, range(len(source)), name, fingerprint)
        self._change = change

    def _record(self, index: int) -> Record:
        return self._change(super()._record(index))


def mapped(source: Source, change: Callable[[Record], Record], name: str) -> Source:
    """Each record changed by a pure function, on access. ``name`` says which change; it is in the
    fingerprint.
    """
    return _Mapped(source, change, f"{source.name} {name}", key("map", source.fingerprint, name))


def set_aside_of(source: Source) -> SetAside:
    """What a source left out; for a source that does not tell, that it used all it has."""
    known: Any = getattr(source, "set_aside", None)
    return known if isinstance(known, SetAside) else SetAside(used=len(source))

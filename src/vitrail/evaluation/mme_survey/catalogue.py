"""The catalogue of benchmarks: validated records, filters, coverage, and a recommendation for a need.

``benchmarks.tsv`` holds one record a line. An empty cell is not known. Those that this library can run name their
``loader``, a component of the seam *benchmark*; of the others, which come from the survey's lists, years and sizes were
not checked against their papers (``verified`` is ``no``).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vitrail.evaluation.mme_survey.taxonomy import ANNOTATIONS, FORMATS, JUDGES, LEAVES, MODALITIES, SOURCES
from vitrail.registry import nearest

_LISTS = ("also", "modalities", "format", "languages", "judge", "metrics")


class Entry(BaseModel):
    """One benchmark. ``path`` is its leaf of the taxonomy, ``also`` those that it tests besides.

    ``samples`` and ``images`` are counts, ``chance`` the share right of guessing; None where not known or where there
    is none. ``leakage`` says what training data may hold of it. ``loader``: its name in ``vitrail eval --benchmark``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    name: str = Field(min_length=1)
    year: int = Field(ge=2000, le=2100)
    paper: str = ""
    path: str
    also: tuple[str, ...] = ()
    modalities: tuple[str, ...] = Field(min_length=1)
    format: tuple[str, ...] = Field(min_length=1)
    samples: int | None = Field(default=None, ge=1)
    images: int | None = Field(default=None, ge=1)
    languages: tuple[str, ...] = ("en",)
    source: str | None = None
    annotation: str | None = None
    judge: tuple[str, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(min_length=1)
    chance: float | None = Field(default=None, ge=0, le=1)
    leakage: str = ""
    licence: str = ""
    data: str = ""
    loader: str | None = None
    verified: bool = False

    @field_validator("path", "also", "modalities", "format", "source", "annotation", "judge")
    @classmethod
    def _known(cls, value: Any, info: Any) -> Any:
        known = {
            "path": LEAVES, "also": LEAVES, "modalities": MODALITIES, "format": FORMATS, "source": SOURCES,
            "annotation": ANNOTATIONS, "judge": JUDGES,
        }[info.field_name]  # fmt: skip
        for one in value if isinstance(value, tuple) else () if value is None else (value,):
            if one not in known:
                raise ValueError(f"{info.field_name} is {one!r}; {nearest(one, list(known))}")
        return value

    @property
    def paths(self) -> tuple[str, ...]:
        """Every leaf that it tests, its own first."""
        return (self.path, *self.also)


class Catalogue:
    """Entries by id, in their order. ValueError for an id that is there twice."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.id in self.entries:
                raise ValueError(f"the catalogue has {entry.id!r} twice; ids must be unique")
            self.entries[entry.id] = entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def filter(
        self,
        capability: str | None = None,
        modality: str | None = None,
        judge: str | None = None,
        runnable: bool = False,
    ) -> Catalogue:
        """The entries that pass all of the given filters; ``capability`` is a leaf, or a level 1.

        ``judge``: those that need no other judge. ``runnable``: those with a loader here. ValueError for an unknown
        word.
        """
        leaves = None if capability is None else _leaves(capability)
        _require(modality, MODALITIES, "modality")
        _require(judge, JUDGES, "judge")
        return Catalogue(
            entry
            for entry in self
            if (leaves is None or set(entry.paths) & leaves)
            and (modality is None or modality in entry.modalities)
            and (judge is None or set(entry.judge) == {judge})
            and (not runnable or entry.loader is not None)
        )

    def named(self, ids: Iterable[str]) -> Catalogue:
        """The entries of some ids. ValueError for one that the catalogue has not."""
        chosen = list(ids)
        for one in chosen:
            if one not in self.entries:
                raise ValueError(
                    f"the catalogue has no benchmark {one!r}; {nearest(one, list(self.entries))}"
                )
        return Catalogue(self.entries[one] for one in dict.fromkeys(chosen))

    def coverage(self, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For every leaf of the taxonomy which of ``ids`` test it. ValueError as :meth:`named`."""
        some = self.named(ids)
        return {leaf: tuple(entry.id for entry in some if leaf in entry.paths) for leaf in LEAVES}

    def missing(self, ids: Iterable[str]) -> tuple[str, ...]:
        """The leaves that none of ``ids`` tests."""
        return tuple(leaf for leaf, found in self.coverage(ids).items() if not found)

    def counts(self) -> dict[str, int]:
        """How many entries have their own leaf at each leaf and below each level 1; ``all`` is every entry."""
        leaves = Counter(entry.path for entry in self)
        tops = Counter(entry.path.split("/")[0] for entry in self)
        return {"all": len(self), **tops, **leaves}

    def table(self) -> list[tuple[str, ...]]:
        """A row an entry, by leaf: leaf, id, name, samples, answer, judge, loader."""
        ordered = sorted(self, key=lambda entry: LEAVES.index(entry.path))
        return [
            (
                entry.path,
                entry.id,
                entry.name,
                f"{entry.samples:,}" if entry.samples else "",
                ", ".join(entry.format),
                ", ".join(entry.judge),
                entry.loader or "",
            )
            for entry in ordered
        ]

    def recommend(
        self,
        need: Sequence[str],
        *,
        samples: int | None = None,
        judge: bool = False,
        languages: Sequence[str] = (),
        runnable: bool = False,
    ) -> Recommendation:
        """A small set of entries that covers ``need`` (leaves, or levels 1), greedily.

        ``samples``: questions at most, all together (entries of unknown size are then left out). ``judge``: whether a
        language model may judge. Each step takes the entry that covers most of what is left, of these the smallest.
        ValueError for an empty need.
        """
        if not need:
            raise ValueError(f"need is empty; name abilities to cover, of {', '.join(LEAVES)}")
        left = dict.fromkeys(leaf for one in need for leaf in LEAVES if leaf in _leaves(one))
        fitting = [
            entry
            for entry in self
            if (judge or set(entry.judge) == {"script"})
            and (not languages or set(languages) <= set(entry.languages))
            and (not runnable or entry.loader is not None)
            and (samples is None or entry.samples is not None)
        ]
        chosen: list[tuple[str, str]] = []
        budget = samples
        while left:
            gains = [
                (len(set(entry.paths) & set(left)), -(entry.samples or 10**9), entry) for entry in fitting
            ]
            gains = [one for one in gains if one[0] and (budget is None or -one[1] <= budget)]
            if not gains:
                break
            _, _, best = max(gains, key=lambda one: (one[0], one[1], one[2].id))
            covered = [leaf for leaf in best.paths if leaf in left]
            for leaf in covered:
                del left[leaf]
            budget = None if budget is None else budget - (best.samples or 0)
            chosen.append((best.id, f"covers {', '.join(covered)}"))
            fitting.remove(best)
        return Recommendation(tuple(chosen), tuple(left))


@dataclass(frozen=True)
class Recommendation:
    """``chosen``: ids with the reason for each; ``unmet``: leaves that nothing that fits can cover."""

    chosen: tuple[tuple[str, str], ...]
    unmet: tuple[str, ...]


def _leaves(capability: str) -> set[str]:
    found = {leaf for leaf in LEAVES if capability in (leaf, leaf.split("/")[0], leaf.split("/")[1])}
    if not found:
        known = [*LEAVES, *dict.fromkeys(leaf.split("/")[0] for leaf in LEAVES)]
        raise ValueError(f"capability is {capability!r}; {nearest(capability, known)}")
    return found


def _require(value: str | None, known: Sequence[str], what: str) -> None:
    if value is not None and value not in known:
        raise ValueError(f"{what} is {value!r}; {nearest(value, list(known))}")


def entry_of(row: Mapping[str, str]) -> Entry:
    """A line of the file as an entry. ValueError naming id, field and value."""
    filled: dict[str, Any] = {name: value for name, value in row.items() if value not in ("", None)}
    for name in _LISTS:
        if name in filled:
            filled[name] = tuple(part.strip() for part in filled[name].split(","))
    try:
        return Entry.model_validate(filled)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"benchmark {row.get('id')!r}, {place}: {first['msg']}") from None


@cache
def read() -> Catalogue:
    """The shipped catalogue."""
    file = resources.files("vitrail.evaluation.mme_survey").joinpath("benchmarks.tsv")
    lines = file.read_text(encoding="utf-8").splitlines()
    return Catalogue(entry_of(row) for row in csv.DictReader(lines, delimiter="\t"))

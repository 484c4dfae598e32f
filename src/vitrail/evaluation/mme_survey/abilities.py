"""Answers by ability: each dimension of a benchmark belongs to a leaf of the taxonomy.

``dimensions.tsv`` names the leaf of dimensions that test another than their benchmark's own; those of a benchmark that
the catalogue does not know belong to none.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from vitrail.evaluation.mme_survey.catalogue import read
from vitrail.evaluation.mme_survey.taxonomy import LEAVES

Row = Mapping[str, Any]


@cache
def dimensions() -> Mapping[tuple[str, str], str]:
    """The leaf of each dimension that ``dimensions.tsv`` names, by benchmark and kind of question."""
    file = resources.files("vitrail.evaluation.mme_survey").joinpath("dimensions.tsv")
    lines = csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return {(row["benchmark"], row["kind"]): row["ability"] for row in lines}


def ability_of(benchmark: str | None, kind: str) -> str | None:
    """The leaf that a question of a benchmark tests; None for a benchmark that is not in the catalogue."""
    if benchmark is None:
        return None
    own = next((entry.path for entry in read() if entry.loader == benchmark), None)
    return dimensions().get((benchmark, kind), own)


def by_ability(benchmark: str | None, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Answered rows by leaf, in the taxonomy's order; rows of no leaf are left out."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        leaf = ability_of(benchmark, row["kind"])
        if leaf is not None:
            found.setdefault(leaf, []).append(row)
    return {leaf: found[leaf] for leaf in LEAVES if leaf in found}

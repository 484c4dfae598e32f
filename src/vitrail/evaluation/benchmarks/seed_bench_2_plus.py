"""SEED-Bench-2-Plus: questions about charts, maps and web pages (Li et al., arXiv 2404.16790).

Answered by ranking, or by a letter. The headline is the mean of the three categories' shares right; the share of all
questions together stands beside it. Text must be legible: ``--also side-224`` asks again with pictures no larger than
that, to see what a model loses.

Official files: a JSON (a list, or an object with ``questions``) with pictures at ``data_id``; Parquet; VLMEvalKit's
TSV. Choices are ``choice_a`` or ``choice_A``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
    stored_or_files,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, cased, lettered, wanted
from vitrail.evaluation.benchmarks.seed_bench import CHOICES, TSV_CHOICES
from vitrail.evaluation.benchmarks.table import Table, find_table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by, mean_of_groups

TYPES = ("chart", "map", "web")


class SeedBench2Plus(Benchmark):
    """Text-rich pictures."""

    name = "seed_bench_2_plus"
    title = "SEED-Bench-2-Plus"

    class Config(Benchmark.Config):
        """``images``: the folder that ``data_id`` begins in, below ``path`` or anywhere."""

        images: str = "."

    config: Config

    def source(self) -> BenchmarkSource:
        """All questions."""
        names = ("SEED-Bench-2-plus*.json", "SEED-Bench*plus*.json", "*.json", "SEEDBench2_Plus*.tsv")
        table = find_table(self.root, names, self.title)
        media = Media(self.root, self.config.images, "SEED-Bench-2-plus-image", "images", ".")
        questions, set_aside = read_questions(table, lambda row, line: _question(row, line, table, media))
        not_empty(self.title, questions, set_aside)
        return BenchmarkSource(self.name, self.root, questions, set_aside, table.digest)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """The mean of the three types, all pooled, each type, and each sub-type."""
        types, finer = by(rows, "kind"), by(rows, "subtype")
        return [
            mean_of_groups("average of types", types),
            accuracy("pooled", rows),
            *(accuracy(kind, types[kind]) for kind in TYPES if kind in types),
            *(accuracy(name, finer[name]) for name in sorted(finer)),
        ]


def _question(row: Mapping[str, Any], line: int, table: Table, media: Media) -> BenchmarkQuestion:
    row = cased(row)
    tsv = "choice_a" not in row and "a" in row
    kind = str(wanted(row, "category" if tsv else "question_image_type")).strip().lower().removesuffix("s")
    if kind not in TYPES:
        raise FieldError("question_image_type", f"is {shown(kind)}; known: {', '.join(TYPES)}")
    options, answer = lettered(
        {**dict.fromkeys(TSV_CHOICES, ""), **row} if tsv else row, TSV_CHOICES if tsv else CHOICES
    )
    name = str(wanted(row, "index" if tsv else "question_id", (str, int)))
    data = str(row.get("data_id") or name)
    subtype = row.get("question_image_subtype")
    return BenchmarkQuestion(
        id=name,
        content=(*stored_or_files(table, line, [data], media, "data_id"), Text(text=wanted(row, "question"))),
        options=tuple(Text(text=option) for option in options),
        answer=answer,
        kind=kind,
        cluster=data,
        groups={"subtype": f"{kind}: {subtype}"} if subtype else {},
    )

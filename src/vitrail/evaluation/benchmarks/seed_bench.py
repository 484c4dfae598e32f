"""SEED-Bench: four-option questions over twelve abilities, answered by ranking (Li et al., arXiv 2307.16125).

For a question q about v with options c_i the loss is ``L_i = mean over tokens of −log p(token | v, q, tokens
before)`` and the answer is the option with the least; ties go to the first. Pictures belong to dimensions 1 to 9,
clips to 10 to 12, of which eight frames are shown as pictures (the paper's models for pictures alone see them so).

Official files: ``SEED-Bench.json`` with ``questions``; pictures below ``SEED-Bench-image`` (or ``images``), named by
``data_id`` without an ending; videos below ``ssv2``, ``epic_kitchens`` and ``breakfast``, or folders of frames of the
same name below ``v1_video``. Or the Parquet of the Hugging Face mirror, or VLMEvalKit's TSV (pictures alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.evaluation.benchmarks.benchmark import (
    MODES,
    RANKING,
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
    stored_or_files,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, Part, cased, lettered, wanted
from vitrail.evaluation.benchmarks.table import Table, find_table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by

DIMENSIONS = {
    1: "Scene Understanding",
    2: "Instance Identity",
    3: "Instance Attributes",
    4: "Instance Location",
    5: "Instances Counting",
    6: "Spatial Relation",
    7: "Instance Interaction",
    8: "Visual Reasoning",
    9: "Text Understanding",
    10: "Action Recognition",
    11: "Action Prediction",
    12: "Procedure Understanding",
}
"""Names by ``question_type_id``."""
FIRST_OF_VIDEO = 10
CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")
TSV_CHOICES = ("a", "b", "c", "d")
QUESTION_ANSWER = {**RANKING, "instruction": {"name": "template", "query": "question-answer"}}


class SeedBench(Benchmark):
    """The first SEED-Bench."""

    name = "seed_bench"
    title = "SEED-Bench"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {**MODES, "question-answer": QUESTION_ANSWER}

    class Config(Benchmark.Config):
        """``task``: ``all``, ``image`` (1 to 9), ``video`` (10 to 12), or one dimension's number.

        ``images`` and the three ``videos``' folders (dimensions 10, 11, 12), below ``path`` or anywhere; ``frames``
        of a clip.
        """

        task: str = "all"
        images: str = "SEED-Bench-image"
        videos: tuple[str, str, str] = ("ssv2", "epic_kitchens", "breakfast")
        frames: int = Field(default=8, ge=1)

        @field_validator("task", mode="before")
        @classmethod
        def _known(cls, task: Any) -> str:
            task = str(task)
            if task not in ("all", "image", "video", *map(str, DIMENSIONS)):
                raise ValueError(f"task is {task!r}; use all, image, video or a number from 1 to 12")
            return task

    config: Config

    def source(self) -> BenchmarkSource:
        """The questions of ``task``."""
        table = find_table(self.root, ("SEED-Bench.json", "SEED-Bench*.json", "SEEDBench*.tsv"), self.title)
        reader = _Reader(self.config, table, self.root)
        questions, set_aside = read_questions(table, reader.question)
        not_empty(self.title, questions, set_aside, f" of task {self.config.task!r}")
        settings = [self.config.task, self.config.frames]
        return BenchmarkSource(self.name, self.root, questions, set_aside, table.digest, settings)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Overall, image and video pooled over questions (not means of dimensions), then each dimension."""
        parts, kinds = by(rows, "part"), by(rows, "kind")
        pooled = [accuracy(part, parts[part]) for part in ("image", "video") if part in parts]
        dimensions = [accuracy(kind, kinds[kind]) for kind in DIMENSIONS.values() if kind in kinds]
        return [accuracy("overall", rows), *pooled, *dimensions]


class _Reader:
    """Rows of one table as questions."""

    def __init__(self, config: SeedBench.Config, table: Table, root: Any) -> None:
        self.config, self.table = config, table
        self.images = Media(root, config.images, "SEED-Bench-image", "images", "cc3m", ".")
        self.videos = {
            number: Media(root, folder, "v1_video", f"v1_video/task{number}", endings=("",))
            for number, folder in enumerate(config.videos, start=FIRST_OF_VIDEO)
        }

    def question(self, row: Mapping[str, Any], line: int) -> BenchmarkQuestion | None:
        """One row; None for one that ``task`` does not ask for."""
        row = cased(row)
        number = _dimension(row)
        kind = DIMENSIONS[number]
        part = "video" if number >= FIRST_OF_VIDEO else "image"
        if self.config.task not in ("all", part, str(number)):
            return None
        tsv = "choice_a" not in row and "a" in row
        if tsv:
            row = {**dict.fromkeys(TSV_CHOICES, ""), **row}  # an empty cell is not there
        options, answer = lettered(row, TSV_CHOICES if tsv else CHOICES)
        name = str(wanted(row, "question_id" if "question_id" in row else "index", (str, int)))
        data = str(row.get("data_id") or name)
        return BenchmarkQuestion(
            id=name,
            content=(*self._media(row, line, number, data), Text(text=wanted(row, "question"))),
            options=tuple(Text(text=option) for option in options),
            answer=answer,
            kind=kind,
            cluster=data,
            groups={"part": part},
        )

    def _media(self, row: Mapping[str, Any], line: int, number: int, data: str) -> list[Part]:
        if number < FIRST_OF_VIDEO or self.table.stored(line):
            return stored_or_files(self.table, line, [data], self.images, "data_id")
        segment = _segment(row, number)
        whole = segment is None
        unit = "seconds" if whole or any(isinstance(end, float) for end in segment or ()) else "frames"
        return [self.videos[number].clip(data, count=self.config.frames, segment=segment, unit=unit)]


def _dimension(row: Mapping[str, Any]) -> int:
    given = row.get("question_type_id")
    if given is None and isinstance(row.get("category"), str):
        names = {name.casefold().replace(" ", "_"): number for number, name in DIMENSIONS.items()}
        names["text_recognition"] = 9
        wanted_name = row["category"].casefold().replace(" ", "_")
        if wanted_name in names:
            return names[wanted_name]
        raise FieldError("category", f"is {shown(row['category'])}, which is no dimension of SEED-Bench")
    if not isinstance(given, int) or given not in DIMENSIONS:
        raise FieldError("question_type_id", f"is {shown(given)}; it must be a number from 1 to 12")
    return given


def _segment(row: Mapping[str, Any], number: int) -> tuple[float, float] | None:
    """Start and end: seconds where they are floats, frames where they are whole numbers; None for the whole clip."""
    given = row.get("segment")
    if given is None:
        if number == FIRST_OF_VIDEO:
            return None
        raise FieldError(
            "segment", f"is missing, and dimension {number} asks about a part of its video; add it"
        )
    if not isinstance(given, (list, tuple)) or len(given) != 2 or not all(_number(end) for end in given):
        raise FieldError("segment", f"must be [start, end], but it is {shown(given)}")
    if given[0] >= given[1]:
        raise FieldError("segment", f"starts at {given[0]} and ends at {given[1]}; correct it")
    return given[0], given[1]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

"""SEED-Bench-2: 27 abilities in levels of what a model takes in and puts out (Li et al., arXiv 2311.17092).

L1: a fixed number of pictures or a clip, and text. L2: pictures and text in any order. L3: making pictures as well.
L1 and L2 are answered by ranking as in SEED-Bench; ``<img>`` in a question is where the next picture goes, and all
stand in front where there is none. Questions of L3 ask the model for a picture, which is compared with candidates
(:mod:`vitrail.evaluation.image_choice`); a model that makes none is not asked them, which is told and never scored as
0. ``candidates: shown`` asks such a model which of the candidate pictures fits, instead (mode ``letter-ranking``).

Official files: ``SEED-Bench_v2_level1_2_3.json``; pictures of CC3M below ``cc3m-image``, the others below
``SEED-Bench-2-image``. Or the Parquet of the Hugging Face mirror.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

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
from vitrail.evaluation.benchmarks.question import (
    BenchmarkQuestion,
    Part,
    cased,
    interleave,
    lettered,
    wanted,
)
from vitrail.evaluation.benchmarks.seed_bench import CHOICES
from vitrail.evaluation.benchmarks.table import Table, find_table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by, mean_of_groups
from vitrail.evaluation.reading import LETTERS

DIMENSIONS = {
    1: "Scene Understanding", 2: "Instance Identity", 3: "Instance Attributes", 4: "Instance Location",
    5: "Instances Counting", 6: "Spatial Relation", 7: "Instance Interaction", 8: "Visual Reasoning",
    9: "Text Understanding", 10: "Celebrity Recognition", 11: "Landmark Recognition", 12: "Chart Understanding",
    13: "Visual Referring Expression", 14: "Science Knowledge", 15: "Emotion Recognition",
    16: "Visual Mathematics", 17: "Difference Spotting", 18: "Meme Comprehension",
    19: "Global Video Understanding", 20: "Action Recognition", 21: "Action Prediction",
    22: "Procedure Understanding", 23: "In-Context Captioning", 24: "Interleaved Image-Text Analysis",
    25: "Text-to-Image Generation", 26: "Next Image Prediction", 27: "Text-Image Creation",
}  # fmt: skip
"""Names by ``question_type_id``; 1 to 22 are part 1, 23 and 24 part 2, 25 to 27 part 3."""
COUNTS = {
    1: 3158, 2: 1831, 3: 4649, 4: 978, 5: 2447, 6: 657, 7: 97, 8: 331, 9: 435, 10: 330, 11: 500, 12: 501, 13: 199,
    14: 277, 15: 501, 16: 132, 17: 501, 18: 159, 19: 1594, 20: 1509, 21: 1225, 22: 1023, 23: 120, 24: 49, 25: 1008,
    26: 81, 27: 79,
}  # fmt: skip
"""Questions of each dimension in the official file."""
LEVELS = ("L1", "L2", "L3")
VERSIONS = ("v1", "v2")
SUBPARTS = (
    "Single-Image & Text Comprehension",
    "Multiple-Images & Text Comprehension",
    "Video & Text Comprehension",
    "Interleaved Image & Text Comprehension",
    "Image Generation",
    "Image & Text Generation",
)
CC3M, OWN = "cc3m", "SEED-Bench v2"
PLACEHOLDER = "<img>"
TO_IMAGE, NEXT_IMAGE, CREATION = 25, 26, 27
CANDIDATES = 4


def part_of(dimension: int) -> str:
    """``part 1``, ``part 2`` or ``part 3`` of a dimension."""
    return "part 1" if dimension <= 22 else "part 2" if dimension <= 24 else "part 3"


class SeedBench2(Benchmark):
    """The second SEED-Bench."""

    name = "seed_bench_2"
    title = "SEED-Bench-2"
    notes: ClassVar[tuple[str, ...]] = (
        "Averages of parts are given twice: pooled over questions, and as the mean over dimensions; published tables "
        "do not always say which one theirs is.",
    )

    class Config(Benchmark.Config):
        """``level`` keeps that level and those below, ``version`` v1 the first SEED-Bench's, ``subpart`` one of six.

        ``cc3m`` and ``images``: the two folders, below ``path`` or anywhere. ``candidates`` of L3: compared with the
        picture that a model makes (``made``), or shown as options (``shown``).
        """

        level: Literal["L1", "L2", "L3"] = "L3"
        version: Literal["v1", "v2"] = "v2"
        subpart: Literal[
            "all",
            "Single-Image & Text Comprehension",
            "Multiple-Images & Text Comprehension",
            "Video & Text Comprehension",
            "Interleaved Image & Text Comprehension",
            "Image Generation",
            "Image & Text Generation",
        ] = "all"
        cc3m: str = "cc3m-image"
        images: str = "SEED-Bench-2-image"
        candidates: Literal["made", "shown"] = "made"

    config: Config

    def source(self) -> BenchmarkSource:
        """The questions of level, version and subpart."""
        names = ("SEED-Bench_v2_level1_2_3.json", "SEED-Bench_v2*.json", "SEED-Bench-2*.json")
        table = find_table(self.root, names, self.title)
        reader = _Reader(self.config, table, self.root)
        questions, set_aside = read_questions(table, reader.question)
        not_empty(self.title, questions, set_aside, " of this level, version and subpart")
        c = self.config
        settings = [c.level, c.version, c.subpart, c.candidates]
        return BenchmarkSource(self.name, self.root, questions, set_aside, table.digest, settings)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Each part pooled and as the mean of its dimensions, then each dimension."""
        parts, kinds = by(rows, "part"), by(rows, "kind")
        found = [accuracy("overall, pooled", rows)]
        for part in sorted(parts):
            found.append(accuracy(f"{part}, pooled", parts[part]))
            found.append(mean_of_groups(f"{part}, mean of dimensions", by(parts[part], "kind")))
        return found + [accuracy(kind, kinds[kind]) for kind in DIMENSIONS.values() if kind in kinds]


class _Reader:
    """Rows of one table as questions."""

    def __init__(self, config: SeedBench2.Config, table: Table, root: Any) -> None:
        self.config, self.table = config, table
        self.media = {
            CC3M: Media(root, config.cc3m, "cc3m-image", "cc3m"),
            OWN: Media(root, config.images, "SEED-Bench-2-image", "."),
        }

    def question(self, row: Mapping[str, Any], line: int) -> BenchmarkQuestion | None:
        """One row; None for one that is not asked for."""
        row = cased(row)
        number = row.get("question_type_id")
        if not isinstance(number, int) or number not in DIMENSIONS:
            raise FieldError("question_type_id", f"is {shown(number)}; it must be a number from 1 to 27")
        level, version = _one_of(row, "level", LEVELS), _one_of(row, "version", VERSIONS)
        subpart = _one_of(row, "subpart", SUBPARTS)
        c = self.config
        asked_for = level <= c.level and version <= c.version and c.subpart in ("all", subpart)
        if not asked_for:
            return None
        name = str(wanted(row, "question_id", (str, int)))
        pictures = self._pictures(row, line)
        pictures, candidates = _split(pictures, number)
        text = wanted(row, "question")
        if number in (TO_IMAGE, NEXT_IMAGE):
            options, answer = (candidates if c.candidates == "shown" else []), _letter(row)
        else:
            texts, answer = lettered(row, CHOICES)
            options = [Text(text=option) for option in texts]
        makes = number >= TO_IMAGE and (c.candidates == "made" or number == CREATION)
        return BenchmarkQuestion(
            id=name,
            content=interleave(text, pictures, PLACEHOLDER),
            options=tuple(options),
            answer=answer,
            kind=DIMENSIONS[number],
            cluster=str(row.get("data_id") or name),
            groups={"part": part_of(number), "level": level},
            needs="makes pictures" if makes else "",
            candidates=tuple(candidates) if makes else (),
        )

    def _pictures(self, row: Mapping[str, Any], line: int) -> list[Part]:
        given = row.get("data_id")
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise FieldError("data_id", f"must be a path or a list of paths, but it is {shown(given)}")
        source = _one_of(row, "data_source", (CC3M, OWN))
        return stored_or_files(self.table, line, names, self.media[source], "data_id")


def _split(pictures: Sequence[Part], number: int) -> tuple[list[Part], list[Part]]:
    """The question's pictures, and the candidates: the last four where a picture is to be made."""
    if number < TO_IMAGE:
        return list(pictures), []
    if len(pictures) < CANDIDATES:
        raise FieldError(
            "data_id", f"has {len(pictures)} pictures; dimension {number} needs its {CANDIDATES} candidates"
        )
    return list(pictures[:-CANDIDATES]), list(pictures[-CANDIDATES:])


def _letter(row: Mapping[str, Any]) -> int:
    letter = str(wanted(row, "answer")).strip().upper()
    if len(letter) != 1 or not 0 <= LETTERS.find(letter) < CANDIDATES:
        raise FieldError("answer", f"is {shown(row['answer'])}, but the options are A to D")
    return LETTERS.index(letter)


def _one_of(row: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    value = wanted(row, name)
    if value not in known:
        raise FieldError(name, f"is {shown(value)}; known: {', '.join(known)}")
    return str(value)

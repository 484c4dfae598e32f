"""POPE: is this object in the picture? Yes or no (Li et al., arXiv 2305.10355), ChEF's measure of hallucination.

Official files: ``coco_pope_random.json``, ``…_popular.json``, ``…_adversarial.json``, a JSON object a line with
``question_id``, ``image``, ``text`` and ``label`` (yes or no); pictures below ``val2014`` (or ``images``).
Figures take *yes* for positive: accuracy, precision, recall, F1, and the share of answers that say yes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.data.sources import SetAside
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, wanted
from vitrail.evaluation.benchmarks.table import LinesTable
from vitrail.evaluation.figures import Figure, Rows, accuracy, by, ratio

YES_NO = ("yes", "no")
FILES = ("random", "popular", "adversarial")


class Pope(Benchmark):
    """Objects that are there, and objects that are not."""

    name = "pope"
    title = "POPE"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ranking": {"instruction": "plain"},
        "words": {
            "instruction": "plain",
            "inferencer": {"name": "generate", "max_new_tokens": 16},
            "metric": {"name": "match", "letters": False},
        },
    }

    class Config(Benchmark.Config):
        """``images``: the folder of the pictures, below ``path`` or anywhere."""

        images: str = "val2014"

    config: Config

    def source(self) -> BenchmarkSource:
        """The questions of the files that are there."""
        found = {name: sorted(self.root.glob(f"*pope_{name}.json")) for name in FILES}
        if not any(found.values()):
            raise ValueError(
                f"{self.title}: {self.root} holds no coco_pope_random.json (popular, adversarial)"
            )
        media = Media(self.root, self.config.images, "val2014", "images", ".")
        questions: list[BenchmarkQuestion] = []
        set_aside, digests = SetAside(), []
        for name, files in found.items():
            for file in files[:1]:
                table = LinesTable([file])
                some, left = read_questions(table, lambda row, line, kind=name: _question(row, kind, media))  # type: ignore[misc]
                questions += some
                set_aside += left
                digests.append(table.digest)
        not_empty(self.title, questions, set_aside)
        return BenchmarkSource(self.name, self.root, questions, set_aside, *digests)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Of all, and of each file."""
        return yes_no_figures(rows)


def _question(row: Mapping[str, Any], kind: str, media: Media) -> BenchmarkQuestion:
    label = str(wanted(row, "label")).strip().lower()
    if label not in YES_NO:
        raise FieldError("label", f"is {shown(row['label'])}; it must be yes or no")
    image = wanted(row, "image")
    return BenchmarkQuestion(
        id=f"{kind}/{wanted(row, 'question_id', (str, int))}",
        content=(media.image(image), Text(text=wanted(row, "text"))),
        options=tuple(Text(text=word) for word in YES_NO),
        answer=YES_NO.index(label),
        kind=kind,
        cluster=image,
    )


def yes_no_figures(rows: Rows) -> list[Figure]:
    """Accuracy, precision, recall, F1 and yes ratio of all rows, then each kind's accuracy and F1.

    Of a row that is right with a share (chance), *yes* is said with that share or its complement.
    """
    found = _rates("", rows)
    kinds = by(rows, "kind")
    if len(kinds) > 1:
        for kind, some in kinds.items():
            found += [one for one in _rates(f"{kind}: ", some) if one.name.endswith(("accuracy", "F1"))]
    return found


def _rates(prefix: str, rows: Rows) -> list[Figure]:
    truth = [float(row["answer"] == 0) for row in rows]
    said = [_said_yes(row) for row in rows]
    hits = [t * s for t, s in zip(truth, said, strict=True)]
    clusters = [row["cluster"] for row in rows]
    return [
        accuracy(f"{prefix}accuracy", rows),
        ratio(f"{prefix}precision", hits, said, clusters),
        ratio(f"{prefix}recall", hits, truth, clusters),
        # The harmonic mean of precision and recall, as a ratio of sums.
        ratio(
            f"{prefix}F1",
            [2 * hit for hit in hits],
            [t + s for t, s in zip(truth, said, strict=True)],
            clusters,
        ),
        ratio(f"{prefix}yes ratio", said, [1.0] * len(rows), clusters),
    ]


def _said_yes(row: Mapping[str, Any]) -> float:
    right = float(row["correct"])
    if 0 < right < 1:
        return right if row["answer"] == 0 else 1 - right
    if row.get("prediction") is None and "prediction" in row:
        return 0.0
    return float((right == 1) == (row["answer"] == 0))

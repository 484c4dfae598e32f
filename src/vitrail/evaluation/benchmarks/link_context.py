"""ISEKAI and ImageNet-100 as Link-Context Learning asks them (arXiv 2308.07891): examples of two, then a picture.

Official files: ISEKAI's ``isekai*.json``, a JSON object a line (or a list) with ``image_name``, ``positive_list``,
``negative_list`` (paths of examples), ``positive_promt``, ``negative_promt`` (the two names, so spelt) and
``label_name`` (the right one); ImageNet's ``test100_pairs.jsonl`` with ``class_id``, ``class_name``,
``context_samples`` and ``test_samples``, lines 2k and 2k + 1 a pair of classes. Pictures lie below the setting
``images``. The first K of each list are the examples, shuffled; K = 0 asks directly. Answers are judged strictly
(:mod:`vitrail.evaluation.two_way`). A picture that is asked about is never its own example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.episodes.wording import WORDINGS, EpisodeWording, Shots, with_picture
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Content, Image, Text
from vitrail.data.scenes.draws import Draws
from vitrail.data.sources import BadRow, SetAside
from vitrail.evaluation.benchmarks.benchmark import Benchmark, BenchmarkSource, Media, not_empty
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, wanted
from vitrail.evaluation.benchmarks.table import LinesTable
from vitrail.evaluation.figures import Figure, Rows
from vitrail.evaluation.two_way import two_way_figures

TWO_WAY: dict[str, dict[str, Any]] = {
    "words": {
        "instruction": "plain",
        "inferencer": {"name": "generate", "max_new_tokens": 32},
        "metric": "two_way",
    },
    "ranking": {"instruction": "plain"},
}


class LinkContext(Benchmark):
    """What both share: a question of two names behind K examples of each."""

    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = TWO_WAY
    files: ClassVar[tuple[str, ...]]

    class Config(Benchmark.Config):
        """``shots``: K, or several, each asked. ``images``: the pictures' folder, below or anywhere. ``seed`` orders
        examples. ``wording``: as published, or short.
        """

        shots: Shots = (4,)
        images: str = "."
        seed: int = Field(default=0, ge=0)
        wording: Literal["published", "short"] = "published"

    config: Any

    def source(self) -> BenchmarkSource:
        """Every question at every number of shots."""
        table = LinesTable([self._file()])
        media = Media(self.root, self.config.images, ".")
        questions, left = self.questions(table, media)
        not_empty(self.title, questions, left)
        told = self.config.model_dump(mode="json", exclude={"path"})
        return BenchmarkSource(self.name, self.root, questions, left, table.digest, told)

    def questions(self, table: LinesTable, media: Media) -> tuple[list[BenchmarkQuestion], SetAside]:
        """The questions of the file's rows, and what is left out."""
        raise NotImplementedError

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Strict two-way accuracy, by shots."""
        return two_way_figures(rows)

    def _file(self) -> Any:
        if self.root.is_file():
            return self.root
        found = [path for name in self.files for path in sorted(self.root.glob(name))]
        if not found:
            raise ValueError(f"{self.title}: {self.root} holds none of {', '.join(self.files)}")
        return found[0]

    def question(
        self,
        name: str,
        k: int,
        query: Image,
        positive: Sequence[Image],
        negative: Sequence[Image],
        names: tuple[str, str],
    ) -> BenchmarkQuestion:
        """One question; ``names``: the right one, which is that of ``positive``, and the other.

        :class:`FieldError` for names that are equal, and for fewer examples than ``k``.
        """
        if names[0].strip().lower() == names[1].strip().lower():
            raise FieldError("negative_promt", f"is {names[1]!r}, the positive name as well; two are needed")
        words: EpisodeWording = WORDINGS[self.config.wording]
        draws = Draws("link context benchmark", self.config.seed, name, k)
        shown_pairs = []
        for label, pictures in zip(names, (positive, negative), strict=True):
            apart = [one for one in pictures if one.path != query.path]
            if len(apart) < k:
                raise FieldError(
                    "positive_list", f"{len(apart)} examples of {label!r} are fewer than {k} shots"
                )
            shown_pairs += [(one, label) for one in apart[:k]]
        shown_pairs = draws.shuffled(shown_pairs)
        earlier: list[tuple[Content, ...]] = []
        for picture, label in shown_pairs:
            earlier += [
                with_picture(words.example, picture),
                (Text(text=words.said(label) + words.example_end),),
            ]
        asked = draws.pick(words.queries) if k else words.direct
        options = [Text(text=words.said(label)) for label in draws.shuffled(names)]
        first = {"first": shown_pairs[0][1] == names[0]} if k else {}
        return BenchmarkQuestion(
            id=f"{name}/{k}",
            content=with_picture(asked, query),  # type: ignore[arg-type]
            kind=f"{k} {'shot' if k == 1 else 'shots'}",
            cluster=str(query.path),
            options=tuple(options),
            answer=options.index(Text(text=words.said(names[0]))),
            groups={"k": k, "positive": names[0], "negative": names[1], **first},
            earlier=tuple(earlier),  # type: ignore[arg-type]
            system=words.system or "" if k else "",
        )


class Isekai(LinkContext):
    """Invented creatures and objects: ISEKAI-10 and ISEKAI-Pair."""

    name = "isekai"
    title = "ISEKAI"
    files = ("isekai*.json", "isekai*.jsonl", "ISEKAI*.json", "*.json", "*.jsonl")

    def questions(self, table: LinesTable, media: Media) -> tuple[list[BenchmarkQuestion], SetAside]:
        """A question for each row and number of shots."""
        found: list[BenchmarkQuestion] = []
        left = SetAside()
        for line, row in table.rows():
            try:
                if isinstance(row, FieldError):
                    raise row
                some = self._row(row, media)
            except FieldError as error:
                left.rows.append(BadRow(table.name, line, error.field, error.reason, word=table.word))
                continue
            found += some
        left.used = len(found)
        return found, left

    def _row(self, row: Mapping[str, Any], media: Media) -> list[BenchmarkQuestion]:
        query = media.image(wanted(row, "image_name"), "image_name")
        names = wanted(row, "positive_promt"), wanted(row, "negative_promt")
        most = max(self.config.shots) + 1
        both = [
            [media.image(one, field) for one in wanted(row, field, list)[:most]] if most > 1 else []
            for field in ("positive_list", "negative_list")
        ]
        label = wanted(row, "label_name")
        if label == names[1]:
            names, both = (names[1], names[0]), both[::-1]
        elif label != names[0]:
            raise FieldError("label_name", f"is {shown(label)}, neither {names[0]!r} nor {names[1]!r}")
        name = f"{row['image_name']}/{label}"
        return [self.question(name, k, query, both[0], both[1], names) for k in self.config.shots]


class ImageNet100Pairs(LinkContext):
    """A hundred classes of ImageNet that no episode trained on, in pairs that are easily confused."""

    name = "imagenet100_pairs"
    title = "ImageNet-100 in pairs"
    files = ("test100_pairs.jsonl", "*pairs.jsonl")

    class Config(LinkContext.Config):
        """``per_class``: the first so many test pictures of each class (default: all)."""

        per_class: int | None = Field(default=None, ge=1)

    def questions(self, table: LinesTable, media: Media) -> tuple[list[BenchmarkQuestion], SetAside]:
        """A question for each test picture and number of shots. ValueError for an odd number of rows."""
        rows = list(table.rows())
        if len(rows) % 2:
            raise ValueError(
                f"{table.name} has {len(rows)} rows; lines 2k and 2k + 1 are a pair, so their number must be even"
            )
        found: list[BenchmarkQuestion] = []
        left = SetAside()
        for (line, row), (_, other) in zip(
            rows, (rows[place ^ 1] for place in range(len(rows))), strict=True
        ):
            try:
                for one in (row, other):
                    if isinstance(one, FieldError):
                        raise one
                some = self._class(row, other, media)  # type: ignore[arg-type]
            except FieldError as error:
                left.rows.append(BadRow(table.name, line, error.field, error.reason, word=table.word))
                continue
            found += some
        left.used = len(found)
        return found, left

    def _class(
        self, row: Mapping[str, Any], other: Mapping[str, Any], media: Media
    ) -> list[BenchmarkQuestion]:
        names = tuple(wanted(one, "class_name").split(",")[0].strip().lower() for one in (row, other))
        most = max(self.config.shots) + 1
        contexts = [
            [media.image(path, "context_samples") for path in wanted(one, "context_samples", list)[:most]]
            for one in (row, other)
        ]
        tests = wanted(row, "test_samples", list)[: self.config.per_class]
        found = []
        for path in tests:
            query = media.image(path, "test_samples")
            name = f"{wanted(row, 'class_id', (str, int))}/{path}"
            found += [
                self.question(name, k, query, contexts[0], contexts[1], (names[0], names[1]))
                for k in self.config.shots
            ]
        return found

"""Q-Bench: what a model sees of blur, noise, light and colour (Wu et al., arXiv 2309.14181): perception, assessment.

*Perception* (LLVisionQA): questions with two to four options, by type and by concern. Official files:
``llvisionqa_dev.json`` (``llvisionqa_test.json``), pictures in ``images_llvisionqa``; the mirror's Parquet
(``question_type`` 0 yes or no, 1 what, 2 how; ``question_concern`` 0 to 3); VLMEvalKit's TSV. ``type`` and ``concern``
of the JSON are unverified names; rows without them count in the whole alone.

*Assessment*: a score a picture by two words' logits (:mod:`vitrail.evaluation.two_words`), its rank and linear
correlation with people's. Official files: ``a3_iqa_databases/jsons/{set}.json``, lists of ``img_path`` and
``gt_score``.

The published letter parser guesses at random where it finds nothing; here that is an answer which could not be read,
and counts as wrong. Description (LLDescribe) has no public reference texts: :mod:`vitrail.evaluation.judge_votes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.data.sources import SetAside
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
    stored_or_files,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, different, wanted
from vitrail.evaluation.benchmarks.table import Table, find_table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by
from vitrail.evaluation.reading import LETTERS
from vitrail.evaluation.two_words import correlations

TYPES = ("yes-or-no", "what", "how")
CONCERNS = ("distortion", "others", "in-context distortion", "in-context others")
QUERY = "{question}\nChoose between one of the options as follows:\n{options}"
_LETTERED = {"name": "lettered", "query": QUERY}
ABSENT = "N/A"
SETS = ("livec", "spaq", "koniq", "flive", "cgi", "agi", "kadid")
HALVED, HALF = "cgi", 3000
"""CGIQA-6K: game pictures, then film pictures, each correlated by itself."""


class QBench(Benchmark):
    """Low-level perception."""

    name = "q_bench"
    title = "Q-Bench (perception)"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "letters": {
            "instruction": _LETTERED,
            "inferencer": {"name": "generate", "max_new_tokens": 64},
            "metric": {"name": "match", "reading": "last-letter"},
        },
        "ranking": {"instruction": "plain", "inferencer": {"name": "likelihood", "normalise": "token"}},
        "letter-ranking": {"instruction": _LETTERED},
    }

    class Config(Benchmark.Config):
        """``split``: dev or test; ``images``: the pictures' folder, below ``path`` or anywhere."""

        split: str = "dev"
        images: str = "images_llvisionqa"

        @field_validator("split")
        @classmethod
        def _known(cls, split: str) -> str:
            if split not in ("dev", "test"):
                raise ValueError(f"split is {split!r}; use dev or test")
            return split

    config: Config

    def source(self) -> BenchmarkSource:
        """The questions of the split."""
        split = self.config.split
        tsv = {"dev": "Q-Bench1_VAL*.tsv", "test": "Q-Bench1_TEST*.tsv"}[split]
        names = (
            f"llvisionqa_{split}.json",
            f"*{split}*.json",
            tsv,
            f"{split}*.parquet",
            f"data/{split}*.parquet",
        )
        table = find_table(self.root, names, self.title)
        media = Media(self.root, self.config.images, "images_llvisionqa", "images", ".")
        questions, set_aside = read_questions(table, lambda row, line: _question(row, line, table, media))
        not_empty(self.title, questions, set_aside)
        return BenchmarkSource(self.name, self.root, questions, set_aside, table.digest, split)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Overall, each type, each concern, all pooled over questions."""
        types, concerns = by(rows, "kind"), by(rows, "concern")
        return [
            accuracy("overall", rows),
            *(accuracy(name, types[name]) for name in TYPES if name in types),
            *(accuracy(name, concerns[name]) for name in CONCERNS if name in concerns),
        ]


def _question(row: Mapping[str, Any], line: int, table: Table, media: Media) -> BenchmarkQuestion:
    options, answer = _options(row)
    different(options, "candidates" if "candidates" in row else "option0")
    name = str(row.get("id", row.get("index", row.get("img_path", f"row {line}"))))
    if "img_path" in row and "id" not in row:
        name = f"{line}"
    path = str(row.get("img_path") or row.get("image_path") or name)
    kind = _named(row, ("type", "question_type"), TYPES) or "other"
    concern = _named(row, ("concern", "question_concern"), CONCERNS)
    return BenchmarkQuestion(
        id=name,
        content=(
            *stored_or_files(table, line, [path], media, "img_path"),
            Text(text=wanted(row, "question")),
        ),
        options=tuple(Text(text=option) for option in options),
        answer=answer,
        kind=kind,
        cluster=path,
        groups={} if concern is None else {"concern": concern},
    )


def _options(row: Mapping[str, Any]) -> tuple[list[str], int]:
    """The options that there are, and the right one's index among these."""
    if "candidates" in row:
        options = [str(one) for one in wanted(row, "candidates", list)]
        right = str(wanted(row, "correct_ans"))
        if right not in options:
            raise FieldError("correct_ans", f"is {shown(right)}, which is none of the candidates")
        return options, options.index(right)
    names = [f"option{place}" for place in range(4)] if "option0" in row else list("ABCD")
    options, kept = [], []
    for place, name in enumerate(names):
        text = "" if row.get(name) is None else str(row[name]).strip()
        if text and text != ABSENT:
            options.append(text)
            kept.append(place)
    field = "correct_choice" if "option0" in row else "answer"
    letter = str(wanted(row, field)).strip().upper()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    if place not in kept:
        raise FieldError(
            field, f"is {shown(row[field])}, but the options kept are {', '.join(LETTERS[i] for i in kept)}"
        )
    return options, kept.index(place)


def _named(row: Mapping[str, Any], fields: Sequence[str], names: Sequence[str]) -> str | None:
    """A type or concern by number or by name; None where the row has none."""
    field = next((name for name in fields if row.get(name) is not None), None)
    if field is None:
        return None
    value = row[field]
    if str(value).isdigit() and int(value) < len(names):
        return names[int(value)]
    plain = str(value).strip().lower().replace("_", "-").replace(" ", "-")
    found = next((name for name in names if name.replace(" ", "-") == plain), None)
    if found is None:
        raise FieldError(field, f"is {shown(value)}; known: 0 to {len(names) - 1}, or {', '.join(names)}")
    return found


class QBenchAssessment(Benchmark):
    """Scores of pictures against people's."""

    name = "q_bench_assessment"
    title = "Q-Bench (assessment)"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "softmax": {"instruction": "plain", "inferencer": "two_words", "metric": "assessment"},
        "reference-code": {
            "instruction": "plain",
            "inferencer": {"name": "two_words", "temperature": 100.0},
            "metric": "assessment",
        },
    }

    class Config(Benchmark.Config):
        """``sets``: of the seven, those whose file is there by default; ``jsons`` and ``images``: their folders."""

        sets: tuple[str, ...] | None = None
        jsons: str = "a3_iqa_databases/jsons"
        images: str = "."

        @field_validator("sets")
        @classmethod
        def _known(cls, sets: tuple[str, ...] | None) -> tuple[str, ...] | None:
            unknown = set(sets or ()) - set(SETS)
            if unknown:
                raise ValueError(f"sets has {sorted(unknown)}; known: {', '.join(SETS)}")
            return sets

    config: Config

    def source(self) -> BenchmarkSource:
        """The pictures of the sets, in order."""
        places = [self.root / self.config.jsons, self.root / "jsons", self.root]
        files = {name: next((f for place in places if (f := place / f"{name}.json").is_file()), None)
                 for name in self.config.sets or SETS}  # fmt: skip
        missing = [name for name, file in files.items() if file is None]
        if len(missing) == len(files) or (self.config.sets and missing):
            raise ValueError(
                f"{self.title}: {self.root} holds no {missing[0]}.json; give the folder with the sets' files"
            )
        media = Media(self.root, self.config.images, "a3_iqa_databases", "images", ".")
        questions: list[BenchmarkQuestion] = []
        set_aside, digests = SetAside(), []
        for name, file in files.items():
            if file is None:
                continue
            table = find_table(file, (), self.title)
            some, left = read_questions(
                table,
                lambda row, line, kind=name: _picture(row, line, kind, media),  # type: ignore[misc]
            )
            questions += some
            set_aside += left
            digests.append(table.digest)
        not_empty(self.title, questions, set_aside)
        return BenchmarkSource(self.name, self.root, questions, set_aside, *digests)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """The mean SRCC and PLCC over sets, each set's, and the SRCC of the more likely word alone."""
        return assessment_figures(rows)


def _picture(row: Mapping[str, Any], line: int, kind: str, media: Media) -> BenchmarkQuestion:
    path, given = wanted(row, "img_path"), wanted(row, "gt_score", (str, int, float))
    try:
        score = float(str(given).strip())
    except ValueError:
        raise FieldError("gt_score", f"is {shown(given)}, which is no number") from None
    if not np.isfinite(score):
        raise FieldError("gt_score", f"is {shown(given)}; it must be finite")
    part = kind if kind != HALVED else f"{kind}-{'game' if line <= HALF else 'film'}"
    return BenchmarkQuestion(
        id=f"{kind}/{line}",
        content=(media.image(path, "img_path"), Text(text="Rate the quality of the image.")),
        reference=repr(score),
        kind=kind,
        cluster=path,
        groups={"part": part},
    )


def assessment_figures(rows: Rows) -> list[Figure]:
    """Correlations by set. None for a set of constant scores, or of fewer than three pictures; never 0 for that."""
    sets = by(rows, "kind")
    found: list[Figure] = []
    for name, some in sets.items():
        parts = by(some, "part") or {name: some}
        each = [_correlated(part) for part in parts.values()]
        for place, which in enumerate(("SRCC", "PLCC", "SRCC of the likelier word")):
            found.append(_mean(f"{name} {which}", [one[place] for one in each], len(some)))
    means = [
        _mean(f"mean {which}", [(one.value, 0, 0) if one.value is not None else None
                                for one in found if one.name.endswith(f" {which}")], len(rows))
        for which in ("SRCC", "PLCC")
    ]  # fmt: skip
    return [*means, *found]


def _correlated(rows: Rows) -> list[tuple[float, float, float] | None]:
    if len(rows) < 3:
        return [None, None, None]
    scores, truth = [row["score"] for row in rows], [float(row["reference"]) for row in rows]
    both = correlations(scores, truth)
    middle = 0.5 if len(rows[0].get("logprobs", ())) == 2 else float(np.median(scores))
    hard = correlations([float(score > middle) for score in scores], truth)
    return [both["SRCC"], both["PLCC"], hard["SRCC"]]


def _mean(name: str, parts: Sequence[tuple[float, float, float] | None], n: int) -> Figure:
    """The mean of parts, with an interval where it is one part; None where a part is. By chance it is 0."""
    if not parts or any(one is None for one in parts):
        return Figure(name, None, None, n, 0.0)
    values = [one[0] for one in parts if one is not None]
    alone = parts[0] if len(parts) == 1 and not name.startswith("mean ") else None
    return Figure(name, float(np.mean(values)), None if alone is None else (alone[1], alone[2]), n, 0.0)

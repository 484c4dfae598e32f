"""WikiMIA and BookMIA: which of these texts was a language model trained on? (Shi et al., arXiv 2310.16789)

WikiMIA's members are Wikipedia's pages on events before 2017, its non-members those of 2023 on, cut to 32, 64, 128 or
256 words; BookMIA's are snippets of books. No question is asked: texts are read, and scores that are low for a member
(:mod:`vitrail.analysis.min_k`) are held against the labels. A difference of topic or wording between the classes
separates them too, so each figure has its neighbour *bag of words*, which sees no model.

Official files: ``WikiMIA_length{32, 64, 128, 256}`` as JSON lines or Parquet with ``input`` and ``label``; BookMIA's
with ``snippet``, ``label`` and ``book`` or ``book_id`` (the last two names unverified). Any file of one's own with
these fields will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Document, Text
from vitrail.data.sources import BadRow, RandomAccess, SetAside
from vitrail.evaluation.benchmarks.benchmark import Benchmark, not_empty
from vitrail.evaluation.benchmarks.question import wanted
from vitrail.evaluation.benchmarks.table import Table, find_table
from vitrail.evaluation.figures import Figure, Rows
from vitrail.storage.cache import key

TEXTS = ("input", "snippet", "text")
BOOKS = ("book", "book_id")
SPREAD = 1.5
"""Texts of which some have so many times more words than others are not comparable."""


class WikiMIA(Benchmark):
    """Members and non-members by date."""

    name = "wikimia"
    title = "WikiMIA"
    pictures = False
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "read": {"instruction": "plain", "inferencer": "membership", "metric": "loss"},
    }

    class Config(Benchmark.Config):
        """``length``: words of a text, which choose the file. ``cut``: cut every text to so many words."""

        length: Literal[32, 64, 128, 256] = 32
        cut: int | None = Field(default=None, ge=1)

    config: Config

    def source(self) -> LabelledTexts:
        """The texts, with what labels them."""
        length = self.config.length
        names = (f"*length{length}*.jsonl", f"*length{length}*.parquet", f"data/*length{length}*.parquet",
                 f"*length{length}*.json", "*.jsonl")  # fmt: skip
        table = find_table(self.root, names, self.title)
        texts, set_aside = _read(table, self.config.cut)
        not_empty(self.title, texts, set_aside)
        return LabelledTexts(self.name, self.root, texts, set_aside, table.digest, self.config.cut)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Area under the curve, balanced accuracy and rate at 5 % of Min-20 %; the areas of the other scores."""
        return membership_figures(rows)

    @classmethod
    def remarks(cls, rows: Rows) -> list[str]:
        """Texts of unlike length, and how to read the figures."""
        words = sorted(row["tokens"] for row in rows)
        told = ["an area of 50 % is chance; compare it with that of the bag of words, which knows no model"]
        if words and words[-1] > SPREAD * words[0]:
            told.append(
                f"texts have {words[0]} to {words[-1]} tokens; scores of unlike lengths are not comparable (set cut)"
            )
        return told

    @classmethod
    def submission(cls, rows: Rows) -> Iterator[dict[str, Any]]:
        """Each text's scores."""
        from vitrail.evaluation.membership import row_scores

        for row in rows:
            yield {"id": row["id"], "label": row["groups"].get("label"), **row_scores(row)}


class LabelledTexts(RandomAccess):
    """Texts with labels, in the order of their file."""

    def __init__(
        self, benchmark: str, root: Path, texts: Sequence[Document], set_aside: SetAside, *digests: Any
    ) -> None:
        self.benchmark, self.name = benchmark, f"{benchmark} ({root.name or root})"
        self.root = root if root.is_dir() else root.parent
        self.texts, self.set_aside = tuple(texts), set_aside
        self.fingerprint = key("benchmark", benchmark, *digests, [one.id for one in texts])

    def __len__(self) -> int:
        return len(self.texts)

    def _record(self, index: int) -> Document:
        return self.texts[index]


def _read(table: Table, cut: int | None) -> tuple[list[Document], SetAside]:
    found: list[Document] = []
    aside = SetAside()
    for line, row in table.rows():
        try:
            if isinstance(row, FieldError):
                raise row
            found.append(_document(row, line, cut))
        except FieldError as error:
            aside.rows.append(BadRow(table.name, line, error.field, error.reason, None, table.word))
    aside.used = len(found)
    return found, aside


def _document(row: Mapping[str, Any], line: int, cut: int | None) -> Document:
    from vitrail.analysis.membership import truncate_words

    field = next((name for name in TEXTS if name in row), TEXTS[0])
    text: str | None = wanted(row, field)
    label = row.get("label")
    if label not in (0, 1) or isinstance(label, bool):
        raise FieldError("label", f"is {shown(label)}; it must be 1 (a member) or 0")
    if cut is not None and (text := truncate_words(str(text), cut)) is None:
        raise FieldError(field, f"has fewer than {cut} words")
    book = next((str(row[name]) for name in BOOKS if row.get(name) is not None), f"text {line}")
    kind = "member" if label else "non-member"
    meta = {"kind": kind, "picture": book, "groups": {"label": int(label)}}
    return Document(id=f"{line}", content=(Text(text=str(text)),), meta=meta)


def membership_figures(rows: Rows, labels: Sequence[int] | None = None) -> list[Figure]:
    """Areas under the curve with intervals, the headline's accuracy and rate at 5 % behind its own.

    ``labels`` default to those in the rows' groups. A score that some row lacks is left out.
    """
    from vitrail.analysis.membership import membership_report
    from vitrail.evaluation.membership import row_scores

    labels = [row["groups"]["label"] for row in rows] if labels is None else labels
    if len(set(labels)) < 2:
        return [Figure("AUC, Min-20 %", None, None, len(rows))]
    every = [row_scores(row) for row in rows]
    names = [name for name in every[0] if all(name in one for one in every)]
    names.sort(key=lambda name: name != "Min-20 %")
    clusters = [row["cluster"] for row in rows]
    found: list[Figure] = []
    for name in names:
        report = membership_report([one[name] for one in every], labels, clusters)
        ends = (report.auc.low, report.auc.high)
        found.append(Figure(f"AUC, {name}", report.auc.value, ends, len(rows)))
        if name == "Min-20 %":
            found.append(Figure("best balanced accuracy, Min-20 %", report.accuracy, None, len(rows)))
            found.append(
                Figure("true positives at 5 % false ones, Min-20 %", report.tpr_at_5, None, len(rows))
            )
    found.append(bag_of_words([row["read"] for row in rows], labels, clusters))
    return found


def bag_of_words(texts: Sequence[str], labels: Sequence[int], clusters: Sequence[Any]) -> Figure:
    """The area under the curve of a naive Bayes over words, each text judged by the others (leave one cluster out).

    Of few texts it lies below one half where nothing differs: what is left out leaves its class poorer. Far above
    one half, the classes differ in what they are about, and a membership score may measure that alone.
    """
    import numpy as np

    from vitrail.statistics.roc import auc

    places: dict[str, int] = {}
    for text in texts:
        for word in text.lower().split():
            places.setdefault(word, len(places))
    held = np.zeros((len(texts), len(places)))
    for line, text in enumerate(texts):
        held[line, [places[word] for word in set(text.lower().split())]] = 1
    y = np.asarray(labels)
    groups: dict[Any, list[int]] = {}
    for line, cluster in enumerate(clusters):
        groups.setdefault(cluster, []).append(line)
    sums = {label: held[y == label].sum(0) for label in (0, 1)}
    counts = {label: int((y == label).sum()) for label in (0, 1)}
    scores = np.zeros(len(texts))
    for lines in groups.values():
        own = {label: held[[one for one in lines if y[one] == label]].sum(0) for label in (0, 1)}
        left = {label: counts[label] - sum(y[one] == label for one in lines) for label in (0, 1)}
        rate = {label: (sums[label] - own[label] + 1) / (left[label] + 2) for label in (0, 1)}
        weights = np.log(rate[1]) - np.log(rate[0])
        scores[lines] = held[lines] @ weights
    found = auc(scores, labels, clusters)
    return Figure("AUC, bag of words", found.value, (found.low, found.high), len(texts))

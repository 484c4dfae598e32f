"""MMR: the same picture, a plain question and a leading one that takes a falsehood for granted (arXiv 2406.10638).

For pair i let p and n be right on the positive and on the negative question. Of the four cells UR (both right), UF
(understood, misled), NR, NF come robust accuracy ``RA = UR / N`` and the misleading rate ``MR = UF / (UR + UF)``, which
is not defined where nothing is understood (upstream prints 0). Over categories both are ratios of sums.

Official files: ``MMR-benchmark.json``, whose two members of a pair share ``id``; pictures at ``image``. Options are
lines inside ``question``, which is asked as it is. A pair labelled POS twice (there is one) is kept, its second
member taken for the negative, and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.data.sources import BadRow, SetAside
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, parsed_options, wanted
from vitrail.evaluation.benchmarks.table import find_table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by, ratio
from vitrail.evaluation.reading import LETTERS

QUERY = "{question}\nAnswer with the option's letter from the given choices directly."
_LISTED = {"name": "lettered", "query": QUERY, "listed": True}
POSITIVE, NEGATIVE = "POS", "NEG"
FOLDERS = ("MMR-benchmark-images", "images", ".")


class MMR(Benchmark):
    """Leading questions in pairs."""

    name = "mmr"
    title = "MMR"
    listed = True
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "letters": {
            "instruction": _LISTED,
            "inferencer": {"name": "generate", "max_new_tokens": 1024},
            "metric": {"name": "match", "reading": "first-letter-word"},
        },
        "strict": {
            "instruction": _LISTED,
            "inferencer": {"name": "generate", "max_new_tokens": 64},
            "metric": "match",
        },
        "letter-ranking": {"instruction": _LISTED},
    }

    class Config(Benchmark.Config):
        """``images``: the folder that ``image`` begins in, below ``path`` or anywhere."""

        images: str = "MMR-benchmark-images"

    config: Config

    def source(self) -> BenchmarkSource:
        """Both members of every pair. What is wrong with one sets its pair aside."""
        table = find_table(self.root, ("MMR-benchmark.json", "MMR*.json"), self.title)
        reader = _Reader(Media(self.root, self.config.images, *FOLDERS))
        questions, set_aside = read_questions(table, reader.question)
        questions, set_aside = _whole_pairs(questions, set_aside, reader.lines, table.name)
        not_empty(self.title, questions, set_aside)
        return BenchmarkSource(self.name, self.root, questions, set_aside, table.digest)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """RA and MR over all pairs, accuracy on either kind of question, then RA and MR by category."""
        return pair_figures(rows)

    @classmethod
    def remarks(cls, rows: Rows) -> list[str]:
        """Pairs whose two members were labelled alike, and the four cells."""
        alike = sorted({row["groups"]["pair"] for row in rows if row["groups"].get("labelled_alike")})
        cells = pair_cells(rows)
        told = [", ".join(f"{name} {count:g}" for name, count in cells.items()) + " pairs"]
        return told + [
            f"pair {name} is labelled POS twice; its second member counts as NEG" for name in alike
        ]


class _Reader:
    """Rows as questions; remembers which member of its pair each one is, and its line."""

    def __init__(self, media: Media) -> None:
        self.media = media
        self.lines: dict[str, int] = {}
        self._seen: dict[str, list[tuple[str, str]]] = {}

    def question(self, row: Mapping[str, Any], line: int) -> BenchmarkQuestion:
        """One row."""
        pair, image = wanted(row, "id"), wanted(row, "image")
        label, text = str(wanted(row, "question_type")).upper(), wanted(row, "question")
        if label not in (POSITIVE, NEGATIVE):
            raise FieldError("question_type", f"is {shown(row['question_type'])}; known: POS, NEG")
        _, options = parsed_options(text)
        letter = str(wanted(row, "ground_truth")).strip().upper()
        place = LETTERS.find(letter) if len(letter) == 1 else -1
        if len(options) != 4 or not 0 <= place < 4:
            raise FieldError(
                "ground_truth", f"is {shown(row['ground_truth'])} of {len(options)} options; MMR has A to D"
            )
        before = self._seen.setdefault(pair, [])
        if len(before) == 2:
            raise FieldError("id", f"{pair!r} is there a third time; a pair has two members")
        if before and before[0][1] != image:
            raise FieldError("image", f"is {image!r}, but the pair's other member shows {before[0][1]!r}")
        alike = bool(before) and before[0][0] == label
        member = (POSITIVE, NEGATIVE)[label == NEGATIVE] if not alike else NEGATIVE
        if alike and label == NEGATIVE:
            raise FieldError(
                "question_type", f"is NEG for both members of pair {pair!r}; which one is plain?"
            )
        before.append((label, image))
        name = f"{pair}/{member}"
        self.lines[name] = line
        level, _, category = pair.rpartition("/")[0].partition("/")
        return BenchmarkQuestion(
            id=name,
            content=(self.media.image(image), Text(text=text)),
            options=tuple(Text(text=option) for option in options),
            answer=place,
            kind=category or level or "all",
            cluster=image,
            groups={
                "pair": pair,
                "member": member,
                "level": level,
                **({"labelled_alike": True} if alike else {}),
            },
        )


def _whole_pairs(
    questions: list[BenchmarkQuestion], set_aside: SetAside, lines: Mapping[str, int], file: str
) -> tuple[list[BenchmarkQuestion], SetAside]:
    members: dict[str, int] = {}
    for one in questions:
        members[one.groups["pair"]] = members.get(one.groups["pair"], 0) + 1
    kept = [one for one in questions if members[one.groups["pair"]] == 2]
    for one in questions:
        if members[one.groups["pair"]] != 2:
            reason = f"the other member of pair {one.groups['pair']!r} is missing or broken"
            set_aside.rows.append(BadRow(file, lines[one.id], "id", reason, one.id, "row"))
    set_aside.used = len(kept)
    return kept, set_aside


def pairs_of(rows: Rows) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The positive and the negative row of each pair, joined by name and member, not by place."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["groups"]["pair"], {})[row["groups"]["member"]] = row
    return {name: (one[POSITIVE], one[NEGATIVE]) for name, one in found.items() if len(one) == 2}


def pair_cells(rows: Rows) -> dict[str, float]:
    """How many pairs are in each of the four cells."""
    cells = dict.fromkeys(("UR", "UF", "NR", "NF"), 0.0)
    for positive, negative in pairs_of(rows).values():
        p, n = float(positive["correct"]), float(negative["correct"])
        for name, share in (
            ("UR", p * n),
            ("UF", p * (1 - n)),
            ("NR", (1 - p) * n),
            ("NF", (1 - p) * (1 - n)),
        ):
            cells[name] += share
    return cells


def pair_figures(rows: Rows) -> list[Figure]:
    """RA, MR, accuracy on positives and negatives; RA and MR by category (``kind``)."""
    members = by(rows, "member")
    found = [
        *_rates("", rows),
        accuracy("accuracy POS", members.get(POSITIVE, [])),
        accuracy("accuracy NEG", members.get(NEGATIVE, [])),
    ]
    for kind, some in by(rows, "kind").items():
        found += _rates(f"{kind}: ", some)
    return found


def _rates(prefix: str, rows: Rows) -> list[Figure]:
    pairs = list(pairs_of(rows).values())
    robust = [float(p["correct"]) * float(n["correct"]) for p, n in pairs]
    misled = [float(p["correct"]) * (1 - float(n["correct"])) for p, n in pairs]
    understood = [float(p["correct"]) for p, _ in pairs]
    clusters = [p["cluster"] for p, _ in pairs]
    return [
        ratio(f"{prefix}RA", robust, [1.0] * len(pairs), clusters),
        ratio(f"{prefix}MR", misled, understood, clusters),
    ]

"""Pictures that break rules of a constitution, and pictures that nearly do (OS Bench of CLUE, arXiv 2501.00192).

The authors' pictures are not public; the layout is one for such pictures of one's own. Beside ``constitution.json``
(:mod:`vitrail.inference.constitution`) either folders named after a rule's id (or ``all``), each with ``unsafe`` and
``borderline`` (or ``violating`` and ``safe``), or ``labels.jsonl`` with an object a line: ``image``, ``label`` (unsafe
or safe), and where known ``rule`` (an id) and ``boxes`` (by central word, each a list of x1, y1, x2, y2 in pixels).

Figures take *unsafe* for positive: accuracy, precision, recall, F1, of all and of each rule's pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Chat, Text
from vitrail.data.scenes.rules import ALL_RULES, OPTIONS
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
)
from vitrail.evaluation.benchmarks.pope import yes_no_figures
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, wanted
from vitrail.evaluation.benchmarks.table import JsonTable, Table
from vitrail.evaluation.figures import Figure, Rows
from vitrail.inference.constitution import Constitution
from vitrail.storage.cache import key

UNSAFE, SAFE = ("unsafe", "violating"), ("safe", "borderline", "borderline-safe")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
LABELS = ("labels.jsonl", "labels.json")
_PLAIN = {"name": "clue", "contrasts": []}
MODES: dict[str, dict[str, Any]] = {
    "clue": {"instruction": "plain", "inferencer": {"name": "clue", "detector": "given"}},
    "prior": {"instruction": "plain", "inferencer": {"name": "clue", "contrasts": ["prior"]}},
    "threshold": {"instruction": "plain", "inferencer": _PLAIN},
    "rules": {"instruction": "plain", "inferencer": {**_PLAIN, "divide": False}},
    "direct": {"instruction": "plain"},
    "cot": {"instruction": "plain", "inferencer": "cot"},
}
"""The judge; without the second contrast; preconditions at a threshold of one half; each rule whole at it; the whole
constitution in one question, directly and with thoughts before. Boxes are those of the labels.
"""


@dataclass(frozen=True)
class JudgedPicture(BenchmarkQuestion):
    """A picture with the rules it is judged by, and boxes by central word where they are known."""

    constitution: Mapping[str, Any] = field(default_factory=dict)
    boxes: Mapping[str, Any] = field(default_factory=dict)

    def chat(self, root: Path) -> Chat:
        """As any question's, with ``meta.constitution`` and ``meta.boxes``."""
        made = super().chat(root)
        meta = {**made.meta, "constitution": self.constitution, "boxes": self.boxes}
        return made.model_copy(update={"meta": meta})


class OSBench(Benchmark):
    """See the module."""

    name = "os_bench"
    title = "OS Bench"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = MODES
    notes: ClassVar[tuple[str, ...]] = ("An undecided verdict counts as unsafe.",)

    class Config(Benchmark.Config):
        """``constitution``: its file, below ``path`` or anywhere."""

        constitution: str = "constitution.json"

    config: Config

    def source(self) -> BenchmarkSource:
        """A question for each picture. ValueError for a rule or a label that there is not."""
        root = self.root
        rules = Constitution.read(root / self.config.constitution)
        table: Table = next(
            (JsonTable([root / name]) for name in LABELS if (root / name).is_file()), _Folders(root)
        )
        media = Media(root, ".", "images")
        questions, set_aside = read_questions(table, lambda row, line: _question(row, rules, media))
        not_empty(self.title, questions, set_aside)
        return BenchmarkSource(self.name, root, questions, set_aside, table.digest, rules.fingerprint)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Of all, and of each rule."""
        return yes_no_figures(rows)

    @classmethod
    def remarks(cls, rows: Rows) -> list[str]:
        """What a picture cost, and how many verdicts stayed open."""
        return judged_remarks(rows)


def judged_remarks(rows: Rows) -> list[str]:
    """Calls of the model for a picture, and verdicts that stayed undecided; nothing for other ways of asking."""
    found = [row["verdict"] for row in rows if "verdict" in row]
    if not found:
        return []
    calls = [one["calls"] for one in found]
    per = sum(one["scores"] + one["removed"] + 2 * one["reasonings"] for one in calls) / len(calls)
    undecided = sum(one["safe"] is None for one in found)
    return [
        f"{per:.1f} calls of the model a picture, priors apart; {undecided:,} of {len(found):,} verdicts undecided."
    ]


class _Folders(Table):
    """Pictures by folders, as rows."""

    word = "picture"

    def __init__(self, root: Path) -> None:
        super().__init__([root])
        self._rows = list(_below(root))

    @property
    def digest(self) -> str:  # type: ignore[override]
        """A hash of where the pictures are."""
        return key("folders", self._rows)

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | FieldError]]:
        """See :class:`Table`."""
        yield from enumerate((dict(row) for row in self._rows), 1)


def _below(root: Path) -> Iterator[dict[str, str]]:
    for rule in sorted(path for path in root.iterdir() if path.is_dir()):
        for label in sorted(path for path in rule.iterdir() if path.is_dir()):
            if label.name.lower() in (*UNSAFE, *SAFE):
                for file in sorted(label.rglob("*")):
                    if file.suffix.lower() in ENDINGS:
                        place = file.relative_to(root).as_posix()
                        yield {"image": place, "label": label.name, "rule": rule.name}


def _question(row: Mapping[str, Any], rules: Constitution, media: Media) -> BenchmarkQuestion:
    label, image = str(wanted(row, "label")).strip().lower(), wanted(row, "image")
    if label not in (*UNSAFE, *SAFE):
        raise FieldError("label", f"is {shown(row['label'])}; write unsafe or safe")
    rule = row.get("rule") or "all"
    ids = [one.id for one in rules.rules]
    if rule != "all" and rule not in ids:
        raise FieldError("rule", f"is {shown(rule)}, which the constitution has not; known: {', '.join(ids)}")
    boxes = row.get("boxes") or {}
    if not isinstance(boxes, dict):
        raise FieldError("boxes", f"is {shown(boxes)}; give lists of boxes by central word")
    text = ALL_RULES.format(rules=rules.listed())
    return JudgedPicture(
        id=str(row.get("id") or image),
        content=(media.image(image), Text(text=text)),
        options=tuple(Text(text=word) for word in OPTIONS),
        answer=0 if label in UNSAFE else 1,
        kind=rule,
        cluster=image,
        groups={"form": label},
        constitution=rules.model_dump(mode="json", exclude_defaults=True),
        boxes=boxes,
    )


__all__ = ["JudgedPicture", "OSBench", "judged_remarks"]

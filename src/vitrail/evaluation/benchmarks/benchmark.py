"""The seam *benchmark*: a folder of official files becomes questions, and the answers the official score.

A benchmark is a subclass of :class:`Benchmark`, registered by name. Whatever is wrong with a row is named with file,
line and field; such rows are left out and counted, and the score says how many rows it covers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import media_bytes_digest
from vitrail.data.records import Chat, Image
from vitrail.data.sources import BadRow, RandomAccess, SetAside, Source
from vitrail.evaluation.benchmarks.clips import Clip
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, Part, Stored
from vitrail.evaluation.benchmarks.table import Table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by
from vitrail.evaluation.reading import LETTERS
from vitrail.evaluation.task import Settings
from vitrail.registry import nearest
from vitrail.storage.cache import key

RANKING = {
    "instruction": "plain",
    # SEED's span is the option's tokens and the one that closes the turn, averaged.
    "inferencer": {"name": "likelihood", "normalise": "token", "end": True},
    "metric": "accuracy",
}
"""Answer ranking: the option with the least loss a token is the answer; no letters are shown."""
LETTER_QUERY = "{question}\n{options}\nAnswer with the option's letter from the given choices directly."
LETTER = {
    "instruction": {"name": "lettered", "query": LETTER_QUERY},
    "inferencer": {"name": "generate", "max_new_tokens": 16},
    "metric": {"name": "match", "reading": "first-character"},
}
"""Generation: options listed with letters, and the first character of the reply is the answer."""
LETTER_RANKING = {"instruction": {"name": "lettered", "query": LETTER_QUERY}}
"""Options listed with letters, and the letter that is most likely is the answer."""
MODES: dict[str, dict[str, Any]] = {"ranking": RANKING, "letters": LETTER, "letter-ranking": LETTER_RANKING}


class Benchmark:
    """One benchmark over a folder of its official files.

    ``modes`` are ways of asking by name, the official one first: a task's instruction, inferencer and metric.
    ``circular``: whether the official protocol rotates the options; ``listed``: whether questions list them themselves.
    ``pictures``: whether any are shown, so that it is asked without them as well.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = MODES
    circular: ClassVar[bool] = False
    listed: ClassVar[bool] = False
    pictures: ClassVar[bool] = True
    notes: ClassVar[tuple[str, ...]] = ()
    submits: ClassVar[Literal["lines", "list"]] = "lines"

    class Config(Settings):
        """``path``: the folder (or the one file) with the official files."""

        path: str = Field(min_length=1)

    config: Any

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(config.path)

    def source(self) -> Source:
        """The questions as records, rows that cannot be used set aside. ValueError where there is none to ask."""
        raise NotImplementedError

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """The official figures of answered rows, the headline first."""
        return [accuracy("overall", rows), *(accuracy(kind, some) for kind, some in by(rows, "kind").items())]

    @classmethod
    def remarks(cls, rows: Rows) -> list[str]:
        """What these rows need a reader to know."""
        return []

    @classmethod
    def submission(cls, rows: Rows) -> Iterator[dict[str, Any]]:
        """The rows of the file that the benchmark's leaderboard takes, as lines or a list (``submits``): an id and a
        letter.
        """
        for row in rows:
            letter = LETTERS[row["prediction"]] if row.get("prediction") is not None else ""
            yield {"question_id": row["id"], "prediction": letter}

    @classmethod
    def parts(cls, mode: str | None) -> dict[str, Any]:
        """Instruction, inferencer and metric of a mode. ValueError for one that there is not."""
        name = mode or next(iter(cls.modes))
        if name not in cls.modes:
            raise ValueError(f"mode is {name!r}; {nearest(name, list(cls.modes))}")
        return dict(cls.modes[name])


class BenchmarkSource(RandomAccess):
    """Questions of a benchmark in the order of its files, opened one by one.

    ``set_aside`` names each row that is left out. The fingerprint is over the files, the settings, which rows are used,
    and the pictures and videos beside them.
    """

    def __init__(
        self,
        benchmark: str,
        root: Path,
        questions: Sequence[BenchmarkQuestion],
        set_aside: SetAside,
        *digests: Any,
    ) -> None:
        self.benchmark, self.name = benchmark, f"{benchmark} ({root.name or root})"
        self.root = root if root.is_dir() else root.parent
        self.set_aside, self.questions = set_aside, tuple(questions)
        self._digests = digests

    def __len__(self) -> int:
        return len(self.questions)

    def _record(self, index: int) -> Chat:
        assert self.root is not None
        return self.questions[index].chat(self.root)

    def about(self, row: int) -> dict[str, Any]:
        """What is known of question ``row`` even where it cannot be opened."""
        one = self.questions[row]
        return {"id": one.id, "kind": one.kind, "groups": dict(one.groups)}

    def options_of(self, row: int) -> int:
        """How many options question ``row`` has, without opening its pictures."""
        return len(self.questions[row].options)

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See the class."""
        digest, seen = hashlib.sha256(), set()
        for path in (path for question in self.questions for path in question.paths()):
            if path not in seen:
                seen.add(path)
                digest.update(key(path, _content(Path(self.root or ".") / path)).encode())
        return key(
            "benchmark",
            self.benchmark,
            *self._digests,
            [one.id for one in self.questions],
            digest.hexdigest(),
        )


def _content(path: Path) -> str:
    if path.is_dir():
        return key(*(media_bytes_digest(file) for file in sorted(path.iterdir()) if file.is_file()))
    return media_bytes_digest(path)


Parse = Callable[[Mapping[str, Any], int], "BenchmarkQuestion | None"]


def read_questions(table: Table, parse: Parse) -> tuple[list[BenchmarkQuestion], SetAside]:
    """Every row of a table as a question; ``parse`` takes a row and its line, and gives None for one not asked for.

    Rows that :class:`FieldError` refuses, and those whose id an earlier row has, are set aside with the reason.
    """
    found: list[BenchmarkQuestion] = []
    places: dict[str, tuple[int, BenchmarkQuestion]] = {}
    set_aside = SetAside()
    for line, row in table.rows():
        try:
            if isinstance(row, FieldError):
                raise row
            question = parse(row, line)
            if question is None:
                continue
            if question.id in places:
                raise _twice(question, *places[question.id])
        except FieldError as error:
            name = str(row.get("question_id") or row.get("id") or "") if isinstance(row, dict) else ""
            bad = BadRow(table.name, line, error.field, error.reason, name or None, table.word)
            set_aside.rows.append(bad)
            continue
        places[question.id] = line, question
        found.append(question)
    set_aside.used = len(found)
    return found, set_aside


def _twice(question: BenchmarkQuestion, line: int, first: BenchmarkQuestion) -> FieldError:
    if (question.options, question.answer, question.reference) == (
        first.options,
        first.answer,
        first.reference,
    ):
        return FieldError("id", f"{question.id!r} is row {line} again; remove one")
    return FieldError(
        "id", f"{question.id!r} is row {line} as well, with another answer; give each question its own"
    )


def not_empty(benchmark: str, questions: Sequence[Any], set_aside: SetAside, asked: str = "") -> None:
    """ValueError where no question is left, with the first reason."""
    if questions:
        return
    if set_aside.rows:
        raise ValueError(
            f"{benchmark}: none of {set_aside.seen:,} rows can be used; the first: {set_aside.rows[0]}"
        )
    raise ValueError(f"{benchmark}: no row is left{asked}; ask for others")


class Media:
    """Pictures and videos of a benchmark below its folder: looked for in ``folders``, in this order.

    A folder of a setting may be anywhere; one that is not there holds nothing. Names may lack their ending.
    """

    def __init__(
        self, root: Path, *folders: str, endings: Iterable[str] = ("", ".jpg", ".jpeg", ".png")
    ) -> None:
        self.root = root if root.is_dir() else root.parent
        self.looked_in, self.endings = tuple(dict.fromkeys(folders)), tuple(endings)
        self.folders = [folder for folder in self.looked_in if (self.root / folder).is_dir()]

    def find(self, name: str, field: str) -> str:
        """The path of a file (or a folder of frames) relative to the root. :class:`FieldError` where there is none."""
        if not name or ".." in Path(name).parts or "\0" in name:
            raise FieldError(field, f"is {name!r}, which is no path below the benchmark's folder")
        for folder in self.folders:
            for ending in self.endings:
                path = Path(folder) / f"{name}{ending}"
                if (self.root / path).exists() and ((self.root / path).is_file() or self._frames(path)):
                    return path.as_posix()
            stem = Path(folder) / Path(name).with_suffix("")
            if self._frames(stem):
                return stem.as_posix()
        raise FieldError(field, f"the file {name!r} is missing (looked in {', '.join(self.looked_in)})")

    def _frames(self, path: Path) -> bool:
        return (self.root / path).is_dir() and any((self.root / path).iterdir())

    def image(self, name: str, field: str = "image") -> Image:
        """A picture by its name."""
        return Image(path=self.find(name, field))

    def clip(self, name: str, field: str = "data_id", **rule: Any) -> Clip:
        """Frames of a video by its name."""
        return Clip(self.find(name, field), **rule)


def stored_or_files(table: Table, line: int, names: Sequence[str], media: Media, field: str) -> list[Part]:
    """A row's pictures: those the row holds, else the files called ``names``. :class:`FieldError` for a missing one."""
    held = table.stored(line)
    if held:
        return [Stored(table, line, index) for index in range(held)]
    return [media.image(name, field) for name in names]

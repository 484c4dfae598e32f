"""Two files of results, row by row: ours, lmms-eval's samples, or VLMEvalKit's predictions, each against any other.

lmms-eval's samples (``--log_samples``) hold ``doc_id`` (the row), ``target``, ``filtered_resps`` and a value for each
metric; VLMEvalKit's tables ``index``, ``answer``, ``prediction``, the options ``A`` to ``Z`` and, once judged, ``hit``.
Rows are paired by id where the files have ids in common, else by their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.compare import Difference, difference
from vitrail.evaluation.predictions import IDS, ROW, identity_of, rows_of, text_of
from vitrail.evaluation.reading import READINGS, plain
from vitrail.evaluation.result_files import is_answers
from vitrail.evaluation.scores import grouped

METRICS = ("exact_match", "acc", "accuracy", "score")
"""Where lmms-eval's samples say whether a row is right, in the order looked for; a task may have a name of its own."""


@dataclass(frozen=True)
class Said:
    """One row of a file: what was answered, and whether it is ``right`` (None where the file does not say).

    ``option`` is the index of the option that was taken; ``text`` what stands in the file.
    """

    id: str
    row: int | None
    text: str
    option: int | None
    right: bool | None
    kind: str = "all"
    cluster: str | None = None


@dataclass(frozen=True)
class Row:
    """One question that both answered."""

    id: str
    kind: str
    first: str
    second: str
    first_right: bool | None
    second_right: bool | None
    same: bool


@dataclass(frozen=True)
class RowComparison:
    """``rows`` that both answered, in the first's order; ``only_first`` and ``only_second`` are ids of the others.

    ``by``: what rows were paired by, ``"id"`` or ``"row"``. ``difference`` is None where a file does not say what is
    right; ``judged`` counts the rows it is over.
    """

    by: str
    rows: tuple[Row, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    judged: int
    difference: Difference | None
    by_kind: dict[str, Difference] = field(default_factory=dict)

    @property
    def same(self) -> int:
        """Rows with the same answer."""
        return sum(row.same for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "same": self.same}


def read_said(path: Path | str, metric: str | None = None) -> list[Said]:
    """The rows of a file of any of the three tools. ValueError for a file that is none, or lacks ``metric``."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a file of answers, lmms-eval's samples or a table")
    if is_answers(path):
        return [_ours(row) for row in read_answers(path).rows]
    found = [_theirs(row, line, path, metric) for line, row in rows_of(path)]
    if not found:
        raise ValueError(f"{path.name} holds no row")
    return found


def _ours(row: Mapping[str, Any]) -> Said:
    option = row["prediction"]
    text = row.get("text") or (row["options"][option] if row["options"] and option is not None else "")
    return Said(row["id"], row["row"], text, option, bool(row["correct"]), row["kind"], row["cluster"])


def _theirs(row: Mapping[str, Any], line: int, path: Path, metric: str | None) -> Said:
    name, text = identity_of(row), text_of(row)
    if name is None or text is None:
        raise ValueError(
            f"{path.name}, line {line}: is neither a sample of lmms-eval nor a prediction of VLMEvalKit; it has "
            f"{', '.join(map(str, row)) or 'nothing'}"
        )
    doc = row["doc"] if isinstance(row.get("doc"), Mapping) else row
    options = [str(doc[letter]) for letter in ascii_uppercase if doc.get(letter) not in (None, "")]
    option = READINGS["words"](text, options, True) if options else None
    right = _right(row, line, path, metric, option, bool(options))
    number = row[ROW] if isinstance(row.get(ROW), int) else None
    own = next(
        (doc[name] for name in IDS if doc.get(name) is not None), name if isinstance(name, str) else None
    )
    judged = row["accuracy"] if isinstance(row.get("accuracy"), Mapping) else {}
    # A row without an id of its own is called as ours are.
    named = str(own) if own is not None else f"row-{number}" if number is not None else str(name)
    kind = str(row.get("category") or doc.get("category") or judged.get("kind") or "all")
    return Said(named, number, text, option, right, kind)


def _right(
    row: Mapping[str, Any], line: int, path: Path, metric: str | None, option: int | None, listed: bool
) -> bool | None:
    names = (metric,) if metric else ("hit", *METRICS)
    for name in names:
        value = row.get(name)
        if isinstance(value, Mapping):  # a judgement of a task that vitrail exported
            value = value.get("score")
        if isinstance(value, str) and value.strip() in ("0", "1", "0.0", "1.0"):
            value = float(value)
        if isinstance(value, (bool, int, float)):
            return value > 0.5
    if metric:
        raise ValueError(
            f"{path.name}, line {line}: has no number {metric!r}; it has {', '.join(map(str, row))}"
        )
    answer = row.get("answer", row.get("target"))
    if listed and isinstance(answer, str) and answer.strip().upper() in tuple(ascii_uppercase):
        return ascii_uppercase.index(answer.strip().upper()) == option  # what cannot be read is not right
    return None


def compare_rows(
    first: Path | str,
    second: Path | str,
    *,
    first_metric: str | None = None,
    second_metric: str | None = None,
) -> RowComparison:
    """Pair the rows of two files. ValueError for files without a row in common, or one that names a row twice."""
    a, b = read_said(first, first_metric), read_said(second, second_metric)
    by = "id" if {one.id for one in a} & {one.id for one in b} else "row"
    mine, theirs = _by(a, by, first), _by(b, by, second)
    both = [key for key in mine if key in theirs]
    if not both:
        raise ValueError(
            f"{first} and {second} have no row in common: ids such as {a[0].id!r} and {b[0].id!r}, and no equal numbers"
        )
    pairs = [(mine[key], theirs[key]) for key in both]
    judged = [
        {"correct": x.right, "other": y.right, "kind": x.kind, "cluster": x.cluster or y.cluster or x.id}
        for x, y in pairs
        if x.right is not None and y.right is not None
    ]
    kinds = grouped(judged, "kind")
    return RowComparison(
        by=by,
        rows=tuple(_row(x, y) for x, y in pairs),
        only_first=tuple(mine[key].id for key in mine if key not in theirs),
        only_second=tuple(theirs[key].id for key in theirs if key not in mine),
        judged=len(judged),
        difference=difference(judged) if judged else None,
        by_kind={kind: difference(some) for kind, some in kinds.items()} if len(kinds) > 1 else {},
    )


def _by(rows: Sequence[Said], name: str, path: Path | str) -> dict[Any, Said]:
    found: dict[Any, Said] = {}
    for one in rows:
        key = getattr(one, name)
        if key is None:
            continue
        if found.setdefault(key, one) is not one:
            raise ValueError(f"{path}: has the {name} {key!r} twice, so that its rows cannot be paired")
    return found


def _row(x: Said, y: Said) -> Row:
    options = x.option is not None and y.option is not None
    same = x.option == y.option if options else plain(x.text) == plain(y.text)
    return Row(x.id, x.kind, x.text, y.text, x.right, y.right, same)

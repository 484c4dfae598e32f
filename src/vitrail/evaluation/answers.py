"""The file of answers: one header, then a row for each question that was answered or set aside.

JSON lines. The header says what was asked of which model, with fingerprints; a later run goes on with the
file only if they are the same. Rows stand in the order of the source. A row that was set aside because an address
refused it holds the HTTP status in ``refused``; one that got no answer there after all tries holds the last status in
``failed``, or null where the connection broke or no answer could be read. How long asking took stands in a file beside
it (``trained.seconds``), so that the answers are the same bytes whenever and however often they were broken off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.storage.log import JsonlLog, read_log

VERSION = 1
FAILED = "failed"
FINGERPRINTS = (
    "scenario", "prompt", "inferencer", "metric", "processor", "model", "transform", "methods", "helpers",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """A file of answers as read: ``rows`` that were answered, ``set_aside`` that could not be asked."""

    path: Path
    header: dict[str, Any]
    rows: list[dict[str, Any]]
    set_aside: list[dict[str, Any]]

    @property
    def complete(self) -> bool:
        """Whether every row of the scenario was answered or set aside."""
        unread = sum(row["type"] == "unread" for row in self.set_aside)
        return len(self.rows) + len(self.set_aside) - unread == self.header["rows"]

    @property
    def seconds(self) -> float:
        """What asking took, all together; 0 where nothing tells."""
        own = sum(row.get("seconds", 0.0) for row in self.rows)  # files of earlier versions say it row by row
        return round(own + sum(line["seconds"] for line in read_log(times_path(self.path))), 4)


def times_path(path: Path) -> Path:
    """The file beside a file of answers that says how long each part of it took."""
    return path.with_suffix(".seconds")


def read_answers(path: Path | str) -> Answers:
    """Read a file of answers. ValueError for a file that is none."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file of answers {path}")
    lines = read_log(path)
    if not lines or lines[0].get("type") != "header":
        raise ValueError(f"{path} does not begin with the header of a file of answers")
    if lines[0].get("version") != VERSION:
        raise ValueError(f"{path} has format version {lines[0].get('version')}; this vitrail reads {VERSION}")
    kinds = {"answer", "set_aside", "unread"}
    odd = [line for line in lines[1:] if line.get("type") not in kinds]
    if odd:
        raise ValueError(
            f"{path} holds a row of type {odd[0].get('type')!r}; known: {', '.join(sorted(kinds))}"
        )
    # A run whose window was cut short by a kill goes on behind it, so order is by row, not by line.
    rows = sorted((line for line in lines[1:] if line["type"] == "answer"), key=lambda row: row["row"])
    return Answers(path, lines[0], rows, [line for line in lines[1:] if line["type"] != "answer"])


def open_answers(path: Path, header: dict[str, Any]) -> JsonlLog:
    """The log to append to: a new one with ``header``, or the one that is there if it was made with an equal
    one.

    ValueError naming what differs otherwise: answers of two settings never meet in one file.
    """
    log = JsonlLog(path, unique="key", sync_every=16)
    lines = log.read()
    if not lines:
        times_path(path).unlink(missing_ok=True)
        log.append({"key": "header", "type": "header", "version": VERSION, **header})
        return log
    try:
        require_same(path, header)
    except ValueError:
        log.close()
        raise
    return log


def require_same(path: Path, header: dict[str, Any]) -> None:
    """ValueError naming what differs where the answers in ``path`` were given under other settings than ``header``."""
    there = read_answers(path).header
    changed = [
        name for name in FINGERPRINTS if there["fingerprints"].get(name) != header["fingerprints"].get(name)
    ]
    if there["rows"] != header["rows"] and not changed:
        changed = ["scenario"]
    if changed:
        details = [f"{name}{_difference(name, there, header)}" for name in changed]
        raise ValueError(
            f"{path} holds answers given under another {', another '.join(details)}; "
            "give another folder, or remove the file to ask again"
        )


def forget_refused(log: JsonlLog) -> int:
    """Take the rows out that an address refused or failed at, so that they are asked again; how many there were."""
    return _forget(log, lambda line: "refused" in line or FAILED in line)


def failed_rows(log: JsonlLog) -> frozenset[str]:
    """The keys of rows that got no answer at an address."""
    return frozenset(line["key"] for line in log if FAILED in line)


def forget_failed(log: JsonlLog, keep: Collection[str]) -> int:
    """Take the rows out that got no answer at an address, save those with the keys ``keep``; how many there were."""
    return _forget(log, lambda line: FAILED in line and line["key"] not in keep)


def _forget(log: JsonlLog, which: Callable[[dict[str, Any]], bool]) -> int:
    lines = log.read()
    kept = [line for line in lines if not which(line)]
    if len(kept) < len(lines):
        log.rewrite(kept)
    return len(lines) - len(kept)


def put_in_order(log: JsonlLog) -> None:
    """Bring the rows into the order of the source, where a run was broken off or asked some of them again."""
    lines = log.read()
    ordered = in_order(lines)
    if [line["key"] for line in ordered] != [line["key"] for line in lines]:
        log.rewrite(ordered)


def in_order(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Header, then what was no record, then the rows as the source has them."""
    return sorted(lines, key=lambda line: line.get("row", -1))


def _difference(name: str, there: dict[str, Any], now: dict[str, Any]) -> str:
    settings = {"prompt": "instruction"}.get(name, name)
    before, after = there["task"].get(settings), now["task"].get(settings)
    if before == after:
        return ""
    before, after = before or {}, after or {}
    fields = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return f" ({'; '.join(f'{key}: {before.get(key)!r}, now {after.get(key)!r}' for key in fields)})"


def reasons(set_aside: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows were set aside for each reason, most frequent first."""
    counts = Counter(row["reason"] for row in set_aside)
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))

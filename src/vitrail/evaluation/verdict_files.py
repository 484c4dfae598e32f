"""Many pictures judged into a file of verdicts, which a later start goes on with (CLUE, arXiv 2501.00192).

JSON lines: a header with all that verdicts depend on, then a row for each picture, in order: its verdict with the
trace, or why it was set aside. A picture is known by its path and content: one that was changed is judged again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.inference.verdicts import trace_lines
from vitrail.storage.cache import file_digest, key
from vitrail.storage.log import JsonlLog, read_log

if TYPE_CHECKING:
    from vitrail.inference.clue import ClueJudge

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
VERSION = 1


@dataclass(frozen=True)
class VerdictFile:
    """A file of verdicts as read: the latest row of each picture, in the order of their first ones."""

    header: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    @property
    def judged(self) -> list[dict[str, Any]]:
        """Rows with a verdict."""
        return [row for row in self.rows if "verdict" in row]

    @property
    def set_aside(self) -> list[dict[str, Any]]:
        """Rows of pictures that could not be judged, with the reason."""
        return [row for row in self.rows if "verdict" not in row]

    def counts(self) -> dict[str, int]:
        """Pictures by what was found."""
        found = Counter(word_of(row["verdict"]) for row in self.judged)
        return {word: found[word] for word in ("safe", "unsafe", "undecided")} | {
            "set_aside": len(self.set_aside)
        }


def word_of(verdict: Any) -> str:
    """``safe``, ``unsafe`` or ``undecided``, of a verdict as plain values."""
    return {True: "safe", False: "unsafe", None: "undecided"}[verdict["safe"]]


def pictures_below(given: Sequence[Path | str]) -> list[Path]:
    """Files as they are given, and all pictures below folders, sorted; each once. ValueError for a folder of none."""
    found: list[Path] = []
    for one in map(Path, given):
        if not one.is_dir():
            found.append(one)
            continue
        below = sorted(path for path in one.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
        if not below:
            raise ValueError(f"{one} holds no picture ({', '.join(ENDINGS)}); name another folder, or files")
        found += below
    return list(dict.fromkeys(found))


def judge_pictures(
    judge: ClueJudge,
    pictures: Sequence[Path],
    out: Path | str,
    *,
    told: dict[str, Any],
    boxes: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerdictFile:
    """Judge what the file ``out`` does not hold yet, and read it.

    ``told``: what else the verdicts depend on (the model's name and fingerprint, helpers), for the header. ``boxes``:
    where things are, by picture and central word, in the detector's place for the pictures that it names. Killed and
    started again it goes on, and ends as the same bytes. ValueError where the file was made under other settings.
    """
    header = {
        "key": "header",
        "version": VERSION,
        **told,
        "constitution": judge.constitution.model_dump(mode="json", exclude_defaults=True),
        "settings": judge.settings.model_dump(mode="json"),
        "boxes": None if boxes is None else key("boxes", boxes),
    }
    known = boxes or {}
    window = 4 * judge.batch_size
    with JsonlLog(out, unique="key") as log:
        _begin(log, header)
        for start in range(0, len(pictures), window):
            some = pictures[start : start + window]
            keys = [f"{path.as_posix()}@{_digest(path)}" for path in some]
            missing = {one for one in keys if one not in log}
            if missing:
                # What shares a batch moves the last digits, so a window that a kill cut in two is judged whole again.
                found = judge.judge_many(some, boxes=[known.get(path.as_posix()) for path in some])
                rows = [_row(*one) for one in zip(keys, some, found, strict=True)]
                log.extend([row for row in rows if row["key"] in missing])
            if progress is not None:
                progress(min(start + window, len(pictures)), len(pictures))
    whole = read_verdicts(out)
    asked = {path.as_posix() for path in pictures}
    return VerdictFile(whole.header, tuple(row for row in whole.rows if row["picture"] in asked))


def read_verdicts(path: Path | str) -> VerdictFile:
    """Read a file of verdicts. ValueError for a file that is none."""
    lines = read_log(path)
    if not lines or lines[0].get("key") != "header" or lines[0].get("version") != VERSION:
        raise ValueError(f"{path} is no file of verdicts; vitrail judge --out writes one")
    latest = {row["picture"]: row for row in lines[1:]}
    return VerdictFile(lines[0], tuple(latest.values()))


def plain_trace(row: dict[str, Any]) -> str:
    """A row in words."""
    if "verdict" not in row:
        return f"{row['picture']}: set aside, {row['reason']}"
    first = f"{row['picture']}: {word_of(row['verdict'])}"
    return "\n".join([first, *(f"  {line}" for line in trace_lines(row["verdict"]))])


def _begin(log: JsonlLog, header: dict[str, Any]) -> None:
    rows = log.read()
    if not rows:
        log.append(header)
        return
    if rows[0].get("key") != "header":
        raise ValueError(f"{log.path} is no file of verdicts; name another one")
    other = next((name for name in header if rows[0].get(name) != header[name]), None)
    if other is not None:
        raise ValueError(f"{log.path} was made with another {other}; name another file, or remove it")


def _digest(path: Path) -> str:
    try:
        return file_digest(path)[:16]
    except OSError:
        return "unreadable"


def _row(name: str, path: Path, found: Any) -> dict[str, Any]:
    row = {"key": name, "picture": path.as_posix()}
    if isinstance(found, str):
        return {**row, "reason": found}
    return {**row, "verdict": found.as_json()}

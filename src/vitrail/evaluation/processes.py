"""One evaluation in several processes: each asks windows of its own and appends to a file of its own.

The windows that are not answered yet go round among the processes, so who asks what depends on their number alone; a
window is asked as it is in one process, so its answers are the same. At the end, or at the next start, whatever the
number of processes is then, the files (``trained.0.part`` …) are put into the one file of answers in the order of the
source: it is the same bytes as one process writes.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from vitrail.evaluation.answers import in_order, open_answers, times_path
from vitrail.storage.log import JsonlLog, read_log


class Share(NamedTuple):
    """Which process this is, from 0, and how many there are."""

    number: int
    of: int


def part_path(path: Path, number: int) -> Path:
    """The file of a process, beside the file of answers."""
    return path.with_name(f"{path.stem}.{number}.part")


def gather(path: Path) -> None:
    """Put what processes have answered into the file of answers, and take their files away.

    ValueError if one of them is still being written, or was made under other settings. Killed at any moment, the next
    call does the rest.
    """
    own = re.compile(re.escape(path.stem) + r"\.\d+\.part")
    parts = sorted(part for part in path.parent.glob("*.part") if own.fullmatch(part.name))
    if not parts:
        return
    with ExitStack() as stack:
        logs = [stack.enter_context(JsonlLog(part)) for part in parts]
        for log in logs:
            log.extend([])  # takes the lock: nobody writes it any more
        found = [log.read() for log in logs]
        for lines in filter(None, found):
            header = {
                name: value for name, value in lines[0].items() if name not in ("key", "type", "version")
            }
            with open_answers(path, header) as whole:
                _add(whole, lines)
        with JsonlLog(times_path(path)) as times:
            for part in parts:
                times.extend(read_log(times_path(part)))
                times_path(part).unlink(missing_ok=True)
                part.unlink()


def gather_below(folder: Path) -> None:
    """:func:`gather` for every file of answers below ``folder``."""
    found = {part.with_name(part.name.rsplit(".", 2)[0] + ".jsonl") for part in folder.rglob("*.part")}
    for path in sorted(found):
        gather(path)


def _add(whole: JsonlLog, lines: list[dict[str, Any]]) -> None:
    there = whole.seen()
    new = [line for line in lines if line["key"] not in there]
    if new:
        whole.rewrite(in_order([*whole.read(), *new]))

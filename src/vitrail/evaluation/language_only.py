"""Questions that need their picture: those that text-only models do not all get right.

SEED-Bench asks several language models without the picture and drops what all of them answer (5.5 % of its questions).
Here each model's answers are a file that was asked ``blind`` (or of a language model), so nothing is asked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitrail.data.sources import Source, select
from vitrail.evaluation.answers import read_answers


def solved_without_picture(files: Sequence[Path | str]) -> set[int]:
    """Rows of the source that every file gets right. ValueError for no file, or files about other questions."""
    if not files:
        raise ValueError("give at least one file of answers that were given without pictures")
    opened = [read_answers(file) for file in files]
    scenarios = {one.header["fingerprints"]["scenario"] for one in opened}
    if len(scenarios) > 1:
        raise ValueError(f"{files[0]} and others answer other questions; ask all models the same ones")
    return set.intersection(*({row["row"] for row in one.rows if row["correct"]} for one in opened))


def needs_picture(source: Source, files: Sequence[Path | str]) -> Source:
    """The questions of ``source`` that at least one of the models, without the picture, gets wrong.

    ValueError as :func:`solved_without_picture`, or for files that answer another source.
    """
    solved = solved_without_picture(files)
    asked = read_answers(files[0]).header["fingerprints"]["scenario"]
    if asked != source.fingerprint:
        raise ValueError(f"{files[0]} answers other questions than {source.name}; ask it these")
    kept = [row for row in range(len(source)) if row not in solved]
    return select(source, kept, name=f"{source.name} (needs the picture)")

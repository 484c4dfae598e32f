"""Folds of a file: which records train, which are for tuning, which are for the result.

Records about one picture stay together (for text alone: those that begin alike), so that nothing of a test item was
trained on. The division depends on the records and the seed alone, not on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vitrail.data.records import Chat
from vitrail.data.sources import Source, select
from vitrail.storage.cache import key

Fold = Literal["train", "development", "test"]
SHARES: Mapping[Fold, float] = {"train": 0.7, "development": 0.15, "test": 0.15}


def picture_of(record: Any, row: int) -> str:
    """What makes records about one picture recognisable: its path, or its bytes; ``row-<n>`` without pictures."""
    images = getattr(record, "images", ())
    if not images:
        return f"row-{row}"
    return images[0].path if images[0].path is not None else key("picture", images[0].bytes or b"")


def subject_of(record: Any, row: int) -> str:
    """What keeps records in one fold: their picture, or how a chat without pictures begins."""
    if getattr(record, "images", ()):
        return picture_of(record, row)
    if isinstance(record, Chat) and record.messages:
        return key("text", record.messages[0].model_dump(mode="json"))
    return key("record", record.model_dump(mode="json"))


def fold_of(source: Source, fold: Fold, seed: int = 0) -> Source:
    """The records of ``source`` that belong to ``fold``, in their order.

    ValueError if there are fewer than three subjects, so that a fold would be empty.
    """
    members: dict[str, list[int]] = {}
    for row, record in enumerate(source):
        members.setdefault(subject_of(record, row), []).append(row)
    chosen = members_of(list(members), fold, f"{source.name} is about {len(members)} pictures or texts", seed)
    rows = sorted(row for subject in chosen for row in members[subject])
    return select(source, rows, name=f"{source.name} ({fold})")


def members_of(subjects: Sequence[str], fold: Fold, there: str, seed: int = 0) -> list[str]:
    """Those of ``subjects`` that belong to ``fold``. ValueError for fewer than three; ``there`` says how many."""
    if len(subjects) < len(SHARES):
        raise ValueError(f"{there}; to be divided into {', '.join(SHARES)} it needs {len(SHARES)} at least")
    return _share(sorted(subjects, key=lambda subject: key("fold", seed, subject)), fold)


def _share(ordered: list[str], fold: Fold) -> list[str]:
    """A fold's part of the subjects: its share, and one at least."""
    n = len(ordered)
    small = {name: max(1, round(SHARES[name] * n)) for name in ("development", "test")}
    begin = {"development": 0, "test": small["development"], "train": sum(small.values())}[fold]
    return ordered[begin : begin + small[fold]] if fold != "train" else ordered[begin:]

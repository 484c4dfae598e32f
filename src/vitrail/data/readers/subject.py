"""Which column says what a row is about: the first of a fixed list, so that no row has two formats.

Datasets keep columns of an earlier format beside those of the one they are in (a ``question`` beside
``conversations``); the one that holds the whole conversation is meant.
"""

from __future__ import annotations

from vitrail.data.readers.beside import COLUMNS
from vitrail.data.readers.content import Row

RECORD_KINDS = ("document", "group", "episode")

_ORDER: dict[str, tuple[str, ...]] = {
    "messages": (),
    "conversations": (),
    "conversation": (),
    "instruction": ("output", "chosen"),
    "preferred_output": (),
    "prompt": ("completion", "chosen"),
    "chosen": ("rejected",),
    "query": ("response", "history"),
    "question": ("answer",),
    "translation": (),
    "text": tuple(COLUMNS),
    "caption": tuple(COLUMNS),
}
"""Columns in order, each with those of which one must be there too."""


def subject(row: Row) -> str | None:
    """The column that a row is about, ``"kind"`` for vitrail's own documents, groups and episodes, or None."""
    kind = row.get("kind")
    if isinstance(row.get("text"), list) and "metadata" in row:
        return "node_order"  # mOSCAR's record: nodes, and their order
    if isinstance(kind, str) and kind in RECORD_KINDS:
        return "kind"
    found = next(
        (
            name
            for name, also in _ORDER.items()
            if name in row and (not also or any(one in row for one in also))
        ),
        None,
    )
    # A 'kind' that is none of ours is a slip, unless another format's columns are there.
    return "kind" if kind not in (None, "chat") and found in (None, "messages") else found

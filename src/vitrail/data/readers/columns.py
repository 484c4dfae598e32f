"""The columns of a row that are not its content: identifier, ``meta``, and what nobody reads."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from vitrail.data.readers.content import Row, json_text
from vitrail.data.readers.problems import FieldError


def rest(row: Row, read: Collection[str]) -> Row:
    """``id`` and ``meta`` of a record: the columns that are not in ``read`` go to ``meta`` as they are.

    A column whose name is a slip of one that is read is refused, so that nobody's data is silently left out.
    """
    out: Row = {"meta": _meta(row, {*read, "id", "meta"})}
    if row.get("id") is not None:
        identity = row["id"]
        out["id"] = (
            str(identity) if isinstance(identity, int) and not isinstance(identity, bool) else identity
        )
    return out


def _meta(row: Row, read: set[str]) -> Any:
    meta = row.get("meta")
    meta = {} if meta is None else meta
    if isinstance(meta, str):
        meta = json_text(meta, "meta")
    others = {name: row[name] for name in row if name not in read}
    known = [name for name in read if len(name) > 3]
    for name in others:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if close and close[0] not in row:
            raise FieldError(name, f"did you mean {close[0]!r}? If not, move this column into 'meta'")
    if not isinstance(meta, dict):
        return meta
    clash = sorted(set(others) & set(meta))
    if clash:
        raise FieldError(clash[0], "is both a column and in 'meta'; rename one")
    return {**meta, **others}


def text_of(row: Row, name: str) -> str:
    """A column that must be text."""
    value = row.get(name)
    if not isinstance(value, str):
        raise FieldError(
            name, "is missing; add it" if value is None else f"must be text, but it is {value!r:.60}"
        )
    return value

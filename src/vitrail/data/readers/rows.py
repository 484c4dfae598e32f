"""One row of a file → one record, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from vitrail.data.decoding import MAX_PIXELS
from vitrail.data.media import media_of, why_no_file, why_outside, why_unreadable
from vitrail.data.readers.formats import recognise
from vitrail.data.readers.problems import FieldError, RecordError, field_error, shown
from vitrail.data.records import Chat, Document, Episode, Group, Record
from vitrail.data.sources import BadRow, SetAside

OnError = Literal["raise", "set_aside"]

_KINDS: dict[str, type[Record]] = {"chat": Chat, "document": Document, "group": Group, "episode": Episode}


@dataclass(frozen=True)
class RowRules:
    """How strictly rows are taken.

    ``on_error``: ``"raise"`` refuses the file at its first bad row, ``"set_aside"`` leaves bad rows out and
    keeps why. ``allow_outside``: pictures may lie outside the file's folder. ``check_images``: every picture
    is decoded (at most ``max_pixels``) when the file is opened.
    """

    on_error: OnError = "raise"
    allow_outside: bool = False
    check_images: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "set_aside"):
            raise ValueError(f"on_error is {self.on_error!r}; give 'raise' or 'set_aside'.")


def read_row(row: Any) -> tuple[Record, str]:
    """The record of a row, and the name of the format it was in. :class:`FieldError` names field and reason."""
    if not isinstance(row, dict):
        raise FieldError("", f"a row must be a JSON object, but this is {shown(row)}")
    form = recognise(row)
    payload = form.payload(row)
    try:
        return _KINDS[payload["kind"]].model_validate(payload), form.name
    except ValidationError as error:
        raise field_error(error, payload) from None


def check_media(record: Record, root: Path, rules: RowRules) -> None:
    """:class:`FieldError` for the first medium that the rules do not allow."""
    for path, medium in media_of(record):
        reason = None
        if medium.path is not None and not rules.allow_outside:
            reason = why_outside(medium.path, root)
        if reason is None:
            reason = why_no_file(medium, root)
        if reason is None and rules.check_images:
            reason = why_unreadable(medium, root, rules.max_pixels)
        if reason is not None:
            raise FieldError(path, reason)


def to_record(row: Any, root: Path, rules: RowRules) -> Record:
    """The record of a row whose media lie under ``root``. :class:`FieldError` names the field and the reason."""
    record, _ = read_row(row)
    check_media(record, root, rules)
    return record


def note(error: FieldError, place: tuple[str, int, str], row: Any, rules: RowRules, aside: SetAside) -> None:
    """Keep a bad row's reason, or raise :class:`RecordError` when bad rows are not to be set aside.

    ``place`` is the file, the number and what it counts.
    """
    file, line, word = place
    identity = row.get("id") if isinstance(row, dict) else None
    bad = BadRow(file, line, error.field, error.reason, None if identity is None else str(identity), word)
    if rules.on_error == "raise":
        raise RecordError(bad, ". (on_error='set_aside' leaves bad rows out and counts them.)")
    aside.rows.append(bad)

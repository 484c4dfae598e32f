"""JSON that is taken strictly: UTF-8, no key twice, no NaN, no half surrogates, no numbers beyond a float."""

from __future__ import annotations

import json
import re
from typing import Any

from vitrail.data.readers.problems import FieldError, shown

_HUGE = re.compile(rb"[eE]\+?\d{3}")


def parse_line(raw: bytes) -> Any:
    """The JSON value of a row. :class:`FieldError` says where it is no UTF-8, no JSON, or ambiguous."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start : error.start + 1]
        raise FieldError(
            "", f"byte {error.start + 1} of the line ({byte!r}) is not UTF-8; convert it"
        ) from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_finite if _HUGE.search(raw) else None,
        )
    except FieldError:
        raise
    except json.JSONDecodeError as error:
        raise FieldError("", _not_json(error, text, raw)) from None
    except RecursionError:
        raise FieldError("", "the row is nested too deeply to be read; flatten it") from None
    except ValueError as error:
        raise FieldError("", f"not JSON that can be read: {error}; correct it") from None
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            lone = error.object[error.start]
            raise FieldError("", f"the text holds half of a surrogate pair ({lone!r}); remove it") from None
    return value


def _not_json(error: json.JSONDecodeError, text: str, raw: bytes) -> str:
    if b"\0" in raw[:64]:
        return "not JSON but null bytes; if the file is UTF-16, save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
    if error.msg.startswith("Extra data") and b"\r" in raw:
        return "several rows between bare carriage returns; make them line feeds (tr '\\r' '\\n')"
    near = shown(text[max(0, error.pos - 15) : error.pos + 15])
    return f"not JSON: {error.msg} at character {error.pos + 1}, near {near}"


def _no_number(name: str) -> Any:
    raise FieldError("", f"{name} is no JSON number; write null or leave the field out")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise FieldError("", f"the number {shown(digits)} is too large; correct it")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FieldError(twice, "is there twice in one object; keep one")
    return value

"""Annotated sentences: CoNLL-U (``.conllu``) and the columns of CoNLL-2003 and its kind (``.conll``, ``.bio``).

Each sentence becomes a document with its entities in ``meta`` (:mod:`vitrail.data.entities`). CoNLL-U has ten columns;
its text is the comment ``# text = …``, names are universal ``PROPN`` or ``NER=B-…`` in the last column. The others have
the word first and the tag of names last; parts of speech, where there are any, second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from vitrail.data.entities import as_meta, fingerprint, of_words
from vitrail.data.readers.content import Row
from vitrail.data.readers.jsonl import LineReader, TextSource
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import Place

SUFFIXES = (".conllu", ".conll", ".bio")
_UNIVERSAL = 10


class ConllSource(TextSource):
    """The sentences of a file; an empty line parts them."""

    container = "CoNLL"
    word = "sentence from line"

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        reader = LineReader(self.path, self._limit)
        first, begin, last, raw = 0, 0, 0, b""
        for line, start, content in reader:
            if raw and line != last + 1:  # an empty line lies between
                yield from _one(raw, begin, first)
                raw = b""
            if not raw:
                first, begin = line, start
            raw, last = raw + (content or b"") + b"\n", line
        if raw:
            yield from _one(raw, begin, first)
        self._hash = reader.digest

    def _load(self, place: Place) -> Any:
        return sentence(self._bytes(place))


def _one(raw: bytes, begin: int, line: int) -> Iterator[tuple[Place, Callable[[], Any]]]:
    if not raw.startswith(b"-DOCSTART-"):
        yield (begin, len(raw), line), partial(sentence, raw)


def sentence(raw: bytes) -> Row:
    """A sentence's lines as a row. :class:`FieldError` for lines of differing columns, or a text without its words."""
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FieldError("", f"byte {error.start + 1} of the sentence is not UTF-8; convert it") from None
    comments = [line for line in lines if line.startswith("#") and "\t" not in line]
    told = next(
        (one.partition("=")[2].strip() for one in comments if one[1:].strip().startswith("text ")), None
    )
    kept = [line for line in lines if line not in comments and line.strip()]
    rows = [line.split("\t") if "\t" in line else line.split() for line in kept]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or min(widths) < 2:
        shown = ", ".join(map(str, sorted(widths))) or "no"
        raise FieldError("", f"its lines have {shown} columns; give every word the same ones, two or more")
    if widths == {_UNIVERSAL}:
        words = _universal(rows)
    else:
        words = [(row[0], row[1] if len(row) > 2 else "", row[-1], True) for row in rows]
    text, places = _placed(words, told)
    found = of_words(places, [word[1] for word in words], [word[2] for word in words])
    return {"text": text, "meta": {"entities": as_meta(found), "entities_of": [fingerprint(text)]}}


def _universal(rows: list[list[str]]) -> list[tuple[str, str, str, bool]]:
    """Form, part of speech, tag of names, and whether a space follows; of a range (``1-2``) the whole form."""
    found, until = [], 0
    for row in rows:
        number, _, last = row[0].partition("-")
        if not number.replace(".", "").isdigit():
            raise FieldError("", f"a word is numbered {row[0]!r}; the first of ten columns is a number")
        if "." in number or (not last and int(number) <= until):
            continue
        misc = dict(one.partition("=")[::2] for one in row[9].split("|"))
        parts = row[3]
        if last:
            until = int(last)
            inside = [
                other[3] for other in rows if other[0].isdigit() and int(number) <= int(other[0]) <= until
            ]
            parts = next((part for part in ("PROPN", "NOUN", "VERB") if part in inside), "X")
        found.append((row[1], parts, misc.get("NER", "O"), misc.get("SpaceAfter") != "No"))
    return found


def _placed(words: list[tuple[str, str, str, bool]], told: str | None) -> tuple[str, list[tuple[int, int]]]:
    """The text, and where each word stands in it."""
    text = (
        told if told is not None else "".join(word[0] + (" " if word[3] else "") for word in words).rstrip()
    )
    places, at = [], 0
    for form, *_ in words:
        start = text.find(form, at)
        if start < 0:
            raise FieldError(
                "text", f"does not hold the word {form!r} in its place; give the text of these words"
            )
        places.append((start, start + len(form)))
        at = start + len(form)
    return text, places

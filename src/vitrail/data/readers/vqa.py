"""Questions about a picture as benchmarks have them: ``question``, ``answer``, ``image``, and perhaps options.

Options are a list (``options``, or ``choices``), or columns ``A``, ``B``, ``C`` …. The answer to them is a letter or
one option's text; a number is taken only where the column is called ``choices``, which counts from 0. A row with
options becomes a chat that ends with the user's question and has ``choices``; one without ends with the answer.
"""

from __future__ import annotations

import string
from typing import Any

from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.columns import rest, text_of
from vitrail.data.readers.content import Row, json_text, without_nulls
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject

_BASE64 = ("/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD")
"""How base64 of a JPEG, PNG, WebP and GIF begins: VLMEvalKit's tables hold pictures so."""


class QuestionAnswer:
    """A question with its answer."""

    name = "vqa"
    columns = ("question", "answer", "options", "choices", *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == "question"

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = without_nulls(row)
        if "options" in row and "choices" in row:
            raise FieldError("choices", "the row has 'options' too; keep one")
        letters = _letters(row)
        options = [text_of(row, letter) for letter in letters] if letters else _listed(row)
        for column in ("image", "images"):
            if column in row:
                row[column] = _pictures(row[column])
        media = Beside(row)
        turns: list[Row] = [{"role": "user", "content": text_of(row, "question")}]
        out: Row = {"kind": "chat", "messages": turns}
        if options is None:
            answer = row.get("answer")
            plain = isinstance(answer, (int, float)) and not isinstance(answer, bool)
            turns.append({"role": "assistant", "content": str(answer) if plain else text_of(row, "answer")})
        else:
            out["choices"] = {"options": options, "answer": _answer(row, options)}
        media.place_marked(turns, "question")
        media.place_rest(turns, "question")
        return {**out, **rest(row, (*self.columns, *letters))}


def _letters(row: Row) -> list[str]:
    """The columns A, B, C … that are there, without a gap; none when the row has a list."""
    if "options" in row or "choices" in row:
        return []
    there = [letter for letter in string.ascii_uppercase if row.get(letter) not in (None, "")]
    if there and "".join(there) != string.ascii_uppercase[: len(there)]:
        raise FieldError(there[-1], f"the options {', '.join(there)} have a gap; name them A, B, C …")
    return there


def _listed(row: Row) -> list[str] | None:
    name = "options" if "options" in row else "choices"
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        value = json_text(value, name)
    if not isinstance(value, list) or not all(isinstance(option, str) for option in value):
        raise FieldError(name, f"must be a list of texts, but it is {shown(value)}")
    return value or None


def _answer(row: Row, options: list[str]) -> int:
    answer = row.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool):
        if "choices" not in row:
            raise FieldError(
                "answer", f"{answer} may count from 0 or from 1; write the option's letter or its text"
            )
        if not 0 <= answer < len(options):
            raise FieldError("answer", f"is {answer}, but there are {len(options)} choices (counted from 0)")
        return answer
    text = text_of(row, "answer")
    same = [n for n, option in enumerate(options) if option == text]
    place = (
        string.ascii_uppercase.find(text.strip().strip("().").upper()) if len(text.strip("(). ")) == 1 else -1
    )
    letter = [place] if 0 <= place < len(options) else []
    found = sorted({*same, *letter})
    if len(found) != 1:
        why = "is more than one option" if found else "is neither an option's letter nor its text"
        raise FieldError("answer", f"{shown(text)} {why}; options: {shown(options)}")
    return found[0]


def _pictures(value: Any) -> Any:
    if isinstance(value, list):
        return [_pictures(one) for one in value]
    if isinstance(value, str) and len(value) > 100 and value.startswith(_BASE64):
        return {"bytes": value}
    return value

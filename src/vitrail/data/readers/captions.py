"""A picture and its text: ``image`` with ``text`` or ``caption``, the usual row of image–text data.

It becomes a chat whose user shows the picture and whose assistant says the text.
"""

from __future__ import annotations

from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.columns import rest, text_of
from vitrail.data.readers.content import Row, without_nulls
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.subject import subject

TEXTS = ("text", "caption")


class Caption:
    """A picture with its caption."""

    name = "caption"
    columns = (*TEXTS, *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) in TEXTS

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = without_nulls(row)
        names = [name for name in TEXTS if name in row]
        if len(names) > 1:
            raise FieldError("caption", "the row has a 'text' too; keep one")
        text = text_of(row, names[0] if names else "text")
        media = Beside(row)
        turns = [{"role": "user", "content": []}, {"role": "assistant", "content": text}]
        media.place_rest(turns, names[0] if names else "text")
        return {"kind": "chat", "messages": turns, **rest(row, self.columns)}

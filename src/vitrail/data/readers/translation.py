"""Translations: ``{"translation": {"en": "…", "si": "…"}}``, as ``datasets`` has them."""

from __future__ import annotations

from vitrail.data.readers.columns import rest
from vitrail.data.readers.content import Row, json_text
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.subject import subject

COLUMN = "translation"


class Translation:
    """A text in two or more languages: a group of relation ``translation``, the languages in ``meta``."""

    name = "translation"

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == COLUMN

    def payload(self, row: Row) -> Row:  # noqa: D102
        texts = row[COLUMN]
        if isinstance(texts, str):
            texts = json_text(texts, COLUMN)
        if not isinstance(texts, dict) or len(texts) < 2:
            raise FieldError(COLUMN, f"must be texts by language, two or more, but it is {texts!r:.60}")
        for language, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                raise FieldError(f"{COLUMN}.{language}", "is no text, or is empty; leave the row out")
        fields = rest(row, (COLUMN,))
        fields["meta"] = {"languages": list(texts), **fields["meta"]}
        items = [[{"type": "text", "text": text}] for text in texts.values()]
        return {"kind": "group", "relation": "translation", "items": items, **fields}

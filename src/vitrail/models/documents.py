"""Documents → tokens, as language models are pretrained: a begin token, the content, the end token; its text is learnt.

The begin token is the tokenizer's own, or its end token where it has none (so that, as in GPT-2's data, one token parts
texts). Nothing in a text is special: ``"<|im_end|>"`` in it is spelt out. What a text has is predicted once, the begin
token never. Pictures stand where they stand in the document, between the special tokens that the model's chat template
puts around one; neither these nor visual tokens are learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.records import Document, Image, Text
from vitrail.models.layout import Speaker
from vitrail.models.token_columns import COLUMNS, TokenColumns

if TYPE_CHECKING:
    from vitrail.models.encoding import Encoded


def text_of(record: Any) -> str | None:
    """The text of a document that holds nothing else; None for every other record."""
    if not isinstance(record, Document) or not all(isinstance(part, Text) for part in record.content):
        return None
    return "".join(part.text for part in record.content if isinstance(part, Text))


def ends(tokenizer: Any) -> tuple[int, int]:
    """The tokens that a text begins and ends with. ValueError for a tokenizer without an end token."""
    end = tokenizer.eos_token_id
    if end is None:
        raise ValueError("the tokenizer has no end token (eos_token), and a text must end; set one")
    begin = tokenizer.bos_token_id
    return (end if begin is None else begin), end


def write_document(tokens: TokenColumns, document: Document, picture: Callable[[int], object]) -> None:
    """A document's begin token, content and end token; ``picture`` adds the tokens of picture number ``n``.

    ValueError for media that are no pictures, or where there is no text to learn.
    """
    other = sorted({part.type for part in document.content if not isinstance(part, (Text, Image))})
    if other:
        raise ValueError(
            f"a document can be read as texts and pictures, and this one holds {', '.join(other)}"
        )
    if not "".join(part.text for part in document.content if isinstance(part, Text)).strip():
        raise ValueError("the document has no text to learn" if document.images else "the text is empty")
    begin, end = ends(tokens.pieces.tokenizer)
    tokens.special(begin, Speaker.TEMPLATE)
    seen = 0
    for part in document.content:
        if isinstance(part, Text):
            tokens.text(part.text, Speaker.ASSISTANT, 1.0)
        else:
            picture(seen)
            seen += 1
    tokens.special(end, Speaker.ASSISTANT, 1.0)


def write_beginning(tokens: TokenColumns) -> None:
    """What stands in front of a document: its begin token, as a prompt."""
    tokens.special(ends(tokens.pieces.tokenizer)[0], Speaker.TEMPLATE)


def windows(whole: Encoded, size: int) -> list[Encoded]:
    """A document's tokens in rows of at most ``size``; each row begins with the last token of the one before it.

    Rows end on a token that is learnt, so that every one is predicted once and no picture is cut; a row has the
    pictures that stand in it. ValueError for a ``size`` below 2, or where a picture does not fit.
    """
    if size < 2:
        raise ValueError(f"rows of {size} token hold nothing to predict; give 2 or more")
    if whole.length <= size:
        return [whole]
    ends = np.flatnonzero(whole.labels != -100)
    rows, start = [], 0
    while start < ends[-1]:
        place = int(np.searchsorted(ends, start + size)) - 1
        if place < 0 or ends[place] <= start:
            following = int(ends[np.searchsorted(ends, start, side="right")])
            raise ValueError(
                f"between two tokens of its text stand {following - start - 1} of pictures, more than fit into a row "
                f"of {size}; give longer rows or smaller pictures"
            )
        rows.append(_cut(whole, start, int(ends[place]) + 1))
        start = int(ends[place])
    return rows


def _cut(whole: Encoded, start: int, end: int) -> Encoded:
    """Tokens ``start`` to ``end`` of a document, the first of which is given."""
    columns = {name: getattr(whole, name)[start:end].copy() for name in COLUMNS}
    columns["labels"][0], columns["weight"][0] = -100, 0.0
    columns["speaker"][0] = int(Speaker.TEMPLATE)
    seen = np.unique(columns["item"][columns["item"] >= 0])
    columns["item"][columns["item"] >= 0] -= seen[0] if len(seen) else 0
    images = tuple(whole.images[place] for place in seen)
    return replace(whole, **columns, images=images, meta=dict(whole.meta))

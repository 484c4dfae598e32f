"""Texts → tokens, as language models are pretrained: a begin token, the text, the end token, and all of it is learnt.

The begin token is the tokenizer's own, or its end token where it has none (so that, as in GPT-2's data, one token parts
texts). Nothing in a text is special: ``"<|im_end|>"`` in it is spelt out. What a text has is predicted once, the begin
token never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.records import Document, Text
from vitrail.models.layout import Modality, Speaker

if TYPE_CHECKING:
    from vitrail.models.encoding import Encoded
    from vitrail.models.tokenising import PieceTokenizer


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


def encode_text(document: Document, pieces: PieceTokenizer) -> Encoded:
    """A text's tokens, of which the first is given. ValueError for an empty text, or a document that holds media."""
    text = text_of(document)
    if text is None:
        kinds = sorted({part.type for part in document.content if not isinstance(part, Text)})
        raise ValueError(f"a document can be read as text alone, and this one holds {', '.join(kinds)}")
    if not text.strip():
        raise ValueError("the text is empty")
    begin, end = ends(pieces.tokenizer)
    ids = [begin, *pieces(text, "special").ids, end]
    return _encoded(ids, given=1, document=document)


def beginning(document: Document, pieces: PieceTokenizer) -> Encoded:
    """What stands in front of a text: its begin token, as a prompt."""
    return _encoded([ends(pieces.tokenizer)[0]], given=1, document=document)


def windows(whole: Encoded, size: int) -> list[Encoded]:
    """A text's tokens in rows of at most ``size``; each row begins with the last token of the one before it.

    So every token but the first is predicted once. ValueError for a ``size`` below 2.
    """
    if size < 2:
        raise ValueError(f"rows of {size} token hold nothing to predict; give 2 or more")
    ids = whole.input_ids.tolist()
    if len(ids) <= size:
        return [whole]
    starts = range(0, len(ids) - 1, size - 1)
    return [_encoded(ids[start : start + size], 1, None, whole.id, dict(whole.meta)) for start in starts]


def _encoded(
    ids: list[int],
    given: int,
    document: Document | None,
    name: str | None = None,
    meta: dict[str, Any] | None = None,
) -> Encoded:
    from vitrail.models.encoding import Encoded

    tokens = np.asarray(ids, dtype=np.int64)
    nowhere = np.full_like(tokens, -1)
    learnt = np.arange(len(ids)) >= given
    return Encoded(
        input_ids=tokens,
        labels=np.where(learnt, tokens, -100),
        weight=learnt.astype(np.float32),
        modality=np.full_like(tokens, int(Modality.TEXT)),
        item=nowhere,
        frame=nowhere.copy(),
        row=nowhere.copy(),
        col=nowhere.copy(),
        speaker=np.where(learnt, int(Speaker.ASSISTANT), int(Speaker.TEMPLATE)).astype(np.int64),
        id=name if document is None else document.id,
        meta=(meta or {}) if document is None else document.meta,
    )

"""The log-probability of every token of a text, or of an answer behind its picture, under any causal model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitrail.data.records import Chat, Document, Text

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

Parts = tuple["Encoded", tuple[int, ...]]
"""What is given, and the tokens behind it that are scored."""


def token_logprobs(
    bundle: Bundle,
    records: Sequence[str | Document | Chat],
    *,
    batch_size: int = 16,
    root: Path | None = None,
) -> list[np.ndarray]:
    """For each record the log-probabilities (tokens,), in nats, in order.

    Of a text all tokens but the first, with the special tokens that the model's tokenizer adds. Of a chat that ends
    with the assistant's turn, that turn's words, given all before it (pictures too). ValueError for a text of fewer
    than two tokens, and for more than fits the model's context.
    """
    from vitrail.inference.likelihood import option_logprobs

    items = [(prompt, (ids,)) for prompt, ids in (parts(bundle, one, root) for one in records)]
    found = option_logprobs(bundle.model, bundle.collator(), items, batch_size=batch_size)
    return [np.array(one.tokens[0]) for one in found]


def parts(bundle: Bundle, record: str | Document | Chat, root: Path | None = None) -> Parts:
    """What of a record is given, and what is scored. ValueError as :func:`token_logprobs`."""
    from vitrail.inference.inputs import context_length

    if isinstance(record, Chat):
        prompt, ids = _answer(bundle, record, root)
    else:
        prompt, ids = _text(bundle, record)
    limit = context_length(bundle.model)
    if limit is not None and prompt.length + len(ids) > limit:
        raise ValueError(
            f"has {prompt.length + len(ids)} tokens; the model's context is {limit}, so cut the text"
        )
    return prompt, ids


def _text(bundle: Bundle, record: str | Document) -> Parts:
    from vitrail.models.documents import text_of

    text = record if isinstance(record, str) else text_of(record)
    if text is None or not text.strip():
        raise ValueError("the text is empty, or holds media; give plain text")
    # What looks like a special token in a text is spelt out.
    ids = bundle.tokenizer(text, split_special_tokens=True)["input_ids"]
    if len(ids) < 2:
        raise ValueError(f"the text has {len(ids)} token; it needs 2, of which the first has no probability")
    given = bundle.encoder.encode(Document(content=(Text(text=text),)), add_generation_prompt=True)
    return dataclasses.replace(given, input_ids=np.asarray(ids[:1], given.input_ids.dtype)), tuple(ids[1:])


def _answer(bundle: Bundle, chat: Chat, root: Path | None) -> Parts:
    *before, last = chat.messages
    if last.role != "assistant" or not before or not last.text.strip():
        raise ValueError("must end with an assistant's turn in words, behind another turn")
    asked = chat.model_copy(update={"messages": tuple(before)})
    prompt = bundle.encoder.encode(asked, add_generation_prompt=True, root=root)
    return prompt, tuple(bundle.encoder.text_ids(last.text))

"""Preferences: one conversation with a better and a worse last answer, from records to batches.

A :class:`~vitrail.data.records.Chat` whose ``rejected`` is set is a preference: its last turn is the chosen answer,
``rejected`` the worse one. Both are encoded behind the same turns, and only the two answers are learnt: earlier answers
of the conversation are context. In a batch each preference has two rows, the chosen one above the rejected one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitrail.data.records import Chat, Image
from vitrail.models.batches import Collator
from vitrail.models.encoding import ChatEncoder, Encoded

REFERENCE = "reference_logps"
"""The entry of a record's ``meta`` with what a reference model gave its two answers: ``[chosen, rejected]``, each the
sum of its tokens' log-probabilities (nats)."""
ROWS = "teacher.preference_rows"
"""The entry of a batch ``(rows,)``: 0 at a chosen answer, 1 at a rejected one. Models are never given it."""
REFERENCE_ROWS = "teacher.reference_logps"
"""The entry of a batch ``(rows,)``: each row's :data:`REFERENCE`; missing where a record has none."""


@dataclass(frozen=True)
class EncodedPreference:
    """A preference as two encoded records that differ in their last answer alone."""

    chosen: Encoded
    rejected: Encoded
    reference: tuple[float, float] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def both(self) -> tuple[Encoded, Encoded]:
        """The chosen one, then the rejected one."""
        return self.chosen, self.rejected

    @property
    def length(self) -> int:
        """Tokens of both rows."""
        return self.chosen.length + self.rejected.length

    @property
    def labelled(self) -> int:
        """Tokens of both answers."""
        return self.chosen.labelled + self.rejected.labelled

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures, as often as the rows show them."""
        return self.chosen.images + self.rejected.images

    @property
    def root(self) -> Path | None:
        """Where the pictures' relative paths begin."""
        return self.chosen.root

    @property
    def id(self) -> str | None:
        """The record's."""
        return self.chosen.id


def encode_preference(encoder: ChatEncoder, chat: Chat, *, root: Path | None = None) -> EncodedPreference:
    """Both answers of ``chat`` behind its other turns.

    ValueError with the reason for a record that is no preference: without a rejected answer, without a chosen one, with
    two equal answers, or with a stored reference that is not two finite numbers.
    """
    if getattr(chat, "kind", None) != "chat":
        raise ValueError(f"a preference is a chat with a rejected answer, and this is a {chat.kind}")
    if not chat.rejected:
        raise ValueError("it has no rejected answer; give 'rejected', or train on it with next_token")
    last = chat.messages[-1]
    if last.role != "assistant":
        raise ValueError(f"its last turn is the {last.role}'s; the chosen answer is an assistant's last turn")
    strange = next((turn.role for turn in chat.rejected if turn.role != "assistant"), None)
    if strange is not None or len(chat.rejected) != 1:
        what = f"has a turn of the {strange}'s" if strange else f"has {len(chat.rejected)} turns"
        raise ValueError(f"its rejected answer {what}; give one assistant's turn")
    if chat.rejected[0].content == last.content:
        raise ValueError("its chosen and rejected answers are equal; there is nothing to prefer")
    context = tuple(turn.model_copy(update={"weight": 0.0}) for turn in chat.messages[:-1])
    rows = [
        encoder.encode(
            chat.model_copy(
                update={"messages": (*context, answer.model_copy(update={"weight": 1.0})), "rejected": None}
            ),
            root=root,
        )
        for answer in (last, chat.rejected[0])
    ]
    for what, row in zip(("chosen", "rejected"), rows, strict=True):
        if row.labelled == 0:
            raise ValueError(f"its {what} answer has no token to learn from")
    return EncodedPreference(rows[0], rows[1], _reference(chat), dict(chat.meta))


def _reference(chat: Chat) -> tuple[float, float] | None:
    stored = chat.meta.get(REFERENCE)
    if stored is None:
        return None
    try:
        chosen, rejected = (float(one) for one in stored)
    except (TypeError, ValueError):
        chosen = rejected = float("nan")
    if not np.isfinite([chosen, rejected]).all():
        raise ValueError(f"meta.{REFERENCE} is {stored!r:.60}; it must be two finite numbers, chosen first")
    return chosen, rejected


class PreferenceCollator(Collator):
    """A collator over preferences: two rows each, and what tells them apart. Single records pass as they are."""

    @classmethod
    def of(cls, collator: Collator) -> PreferenceCollator:
        """One that pads, and shows pictures, as ``collator`` does."""
        return cls(
            collator.pad_token_id,
            collator.vision,
            further=collator.further,
            from_records=collator.from_records,
            padding_side=collator.padding_side,
            multiple_of=collator.multiple_of,
        )

    def __call__(self, records: Sequence[Any]) -> dict[str, Any]:
        """The batch of all rows, :data:`ROWS`, and :data:`REFERENCE_ROWS` where every record has one."""
        if not any(isinstance(record, EncodedPreference) for record in records):
            return super().__call__(records)
        batch = super().__call__([row for record in records for row in record.both])
        batch[ROWS] = torch.arange(2).repeat(len(records))
        stored = [record.reference for record in records]
        if all(one is not None for one in stored):
            batch[REFERENCE_ROWS] = torch.tensor(stored, dtype=torch.float64).flatten()
        return batch

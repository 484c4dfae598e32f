"""Rows of several records → one batch whose layout says which record each token is of.

Every record is first collated as if alone, so that whatever a family makes of it (token types, pixels, tiles) is what
it makes of the record alone; then its columns move into the row. The first token of a record is never a label: the
record before it must not be taught to go on with it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitrail.models.batches import Collator
from vitrail.models.encoding import Encoded
from vitrail.models.families.table import family_of
from vitrail.models.layout import Layout, Modality, Speaker
from vitrail.models.logits import unwrapped
from vitrail.models.rules import lowering, same_segment
from vitrail.models.rules.target import Target, with_standing
from vitrail.models.surgery import operating
from vitrail.objectives.objective import Objective

_FILL = {
    "modality": int(Modality.PADDING),
    "speaker": int(Speaker.TEMPLATE),
    "weight": 0.0,
    "droppable": False,
}
"""What the layout says of padding, where that is not −1."""


class PackedCollator:
    """Rows of encoded records → a batch as :class:`~vitrail.models.batches.Collator` makes it, a row each.

    ``layout.segment`` numbers the records of a row. ValueError if what the model asks for beside tokens and pictures
    cannot be told for a row of several records.
    """

    def __init__(self, collator: Collator) -> None:
        self.further, self.from_records = collator.further, collator.from_records
        self.pad_token_id, self.multiple_of = collator.pad_token_id, collator.multiple_of
        self._alone = copy.copy(collator)
        self._alone.further = self._alone.from_records = None
        self._alone.padding_side, self._alone.multiple_of = "right", 1

    def __call__(self, rows: Sequence[Sequence[Encoded]]) -> dict[str, Any]:
        """``input_ids``, ``attention_mask``, ``labels`` ``(rows, tokens)``, the vision arguments, further inputs and
        ``layout``.
        """
        records = [record for row in rows for record in row]
        batch = self._alone(records)
        layout: Layout = batch.pop("layout")
        shape = layout.shape
        places, segment = self._places(rows, shape[1])

        def moved(column: Tensor, fill: float) -> Tensor:
            return torch.where(places < 0, fill, column.reshape(-1)[places.clamp(min=0)]).to(column.dtype)

        fields = {one.name: getattr(layout, one.name) for one in dataclasses.fields(layout)}
        packed = {name: moved(column, _FILL.get(name, -1)) for name, column in fields.items()}
        begins = segment != torch.nn.functional.pad(segment, (1, 0), value=-1)[:, :-1]
        columns = {
            "input_ids": moved(batch.pop("input_ids"), self.pad_token_id),
            "attention_mask": moved(batch.pop("attention_mask"), 0),
            "labels": moved(batch.pop("labels"), -100).masked_fill(begins, -100),
        }
        more = {} if self.further is None else self.further(layout)
        if self.from_records is not None:
            more = {**more, **self.from_records(records)}
        for name, column in more.items():
            if column.shape != shape:
                raise ValueError(
                    f"packing: the model's input {name!r} is {tuple(column.shape)} for {len(records)} records of up to "
                    f"{shape[1]} tokens, so it does not say what it means for each token; train without packing"
                )
            columns[name] = moved(column, 0)
        return {**columns, **batch, "layout": Layout(**{**packed, "segment": segment})}

    def _places(self, rows: Sequence[Sequence[Encoded]], width: int) -> tuple[Tensor, Tensor]:
        """Where each token of each row stands in the records' columns laid flat, and its record in the row; else −1."""
        longest = max(sum(record.length for record in row) for row in rows)
        longest = -(-longest // self.multiple_of) * self.multiple_of
        places, segment = np.full((2, len(rows), longest), -1, dtype=np.int64)
        number = 0
        for line, row in enumerate(rows):
            begin = 0
            for index, record in enumerate(row):
                here = slice(begin, begin + record.length)
                places[line, here] = number * width + np.arange(record.length)
                segment[line, here] = index
                number, begin = number + 1, begin + record.length
        return torch.from_numpy(places), torch.from_numpy(segment)


def packed_collator(collator: Callable[[Sequence[Any]], dict[str, Any]]) -> PackedCollator:
    """The collator of rows for a collator of records. ValueError for one that is not ours."""
    if not isinstance(collator, Collator):
        raise ValueError(
            f"packing needs a vitrail.models.batches.Collator, and {type(collator).__name__} is none; give one, or "
            "train without packing"
        )
    return PackedCollator(collator)


def refuse_unpackable(model: nn.Module, objective: Objective) -> None:
    """ValueError, with the reason, if records of this model and objective cannot share a row."""
    if not objective.takes_packed:
        raise ValueError(
            f"packing: the objective {type(objective).__name__} takes one record a row; remove packing from the stage"
        )
    inner: Any = unwrapped(model)
    family = family_of(inner.config)
    if family.kind not in ("multimodal", "language"):
        raise ValueError(f"packing: {type(inner).__name__} is a {family.kind}; remove packing from the stage")
    if not family.pack:
        raise ValueError(
            f"packing: records of {family.about or family.model_type} cannot share a row: {family.pack.reason}"
        )
    operating.refuse_broken(inner.config, "packing", "packing")
    rule = with_standing(inner, same_segment())
    assert rule is not None
    target = Target.of(inner)
    target.check(rule)
    if rule.drops:
        raise ValueError(
            f"packing: {rule.drops[0].name} chooses tokens by the row, so records of a row would not be apart; remove "
            "packing from the stage"
        )
    if target.implementation not in (*lowering.NAMES, *lowering.NAMES.values()):
        raise ValueError(
            f"packing: {target.name} attends by {target.implementation!r}, under which nothing keeps records apart; "
            f"load the model with attn_implementation={'sdpa'!r} or {'flex_attention'!r}"
        )

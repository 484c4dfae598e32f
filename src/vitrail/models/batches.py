"""Encoded records → one padded batch with its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from vitrail.data.records import Image
from vitrail.models.encoding import Encoded
from vitrail.models.families.family import PixelRules
from vitrail.models.layout import Layout, Modality, Speaker

Picture = tuple[Image, Path | None]
"""A picture and the folder that its path is relative to."""


@runtime_checkable
class VisionInputs(Protocol):
    """Pictures → the model's vision arguments; ``{}`` for no pictures."""

    def __call__(self, images: Sequence[Picture], counts: Sequence[int] | None = None) -> dict[str, Tensor]:
        """The vision arguments, pictures in order; ``counts``: how many of them each record of the batch has."""
        ...


class Pixels:
    """Decode pictures and run the model's image processor: ``pixel_values`` and what else the model takes.

    ``rules``: what of the image processor's output the model takes, and how pictures are handed over (default:
    everything, one by one).
    """

    def __init__(self, image_processor: Any, rules: PixelRules | None = None) -> None:
        self.image_processor = image_processor
        self.rules = rules

    def __call__(self, images: Sequence[Picture], counts: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Whatever the image processor returns, as tensors."""
        if not images:
            return {}
        opened: list[Any] = [image.open(root) for image, root in images]
        if self.rules is None:
            return dict(self.image_processor(images=opened, return_tensors="pt"))
        if self.rules.by_record:
            edges = [0, *accumulate([1] * len(opened) if counts is None else counts)]
            opened = [opened[begin:end] for begin, end in pairwise(edges)]
        defaults = {
            name: value
            for name, value in self.rules.defaults.items()
            if getattr(self.image_processor, name, None) is None
        }
        found = self.image_processor(images=opened, return_tensors="pt", **defaults, **self.rules.options)
        return {name: torch.as_tensor(found[name]) for name in self.rules.arguments if name in found}


class Collator:
    """Pads to the longest record of the batch. An attention mask is always there, and so is the layout.

    ``vision`` turns pictures into the model's arguments; ``further`` makes more inputs from the layout (token types),
    ``from_records`` from the encoded records (what their ``meta`` says); ``padding_side`` is ``"right"`` for training
    and either for reading likelihoods; ``multiple_of`` rounds the length up.
    """

    def __init__(
        self,
        pad_token_id: int,
        vision: VisionInputs,
        *,
        further: Callable[[Layout], dict[str, Tensor]] | None = None,
        from_records: Callable[[Sequence[Encoded]], dict[str, Any]] | None = None,
        padding_side: Literal["left", "right"] = "right",
        multiple_of: int = 1,
    ) -> None:
        self.pad_token_id = pad_token_id
        self.vision = vision
        self.further = further
        self.from_records = from_records
        self.padding_side = padding_side
        self.multiple_of = multiple_of

    def __call__(self, records: Sequence[Encoded]) -> dict[str, Any]:
        """``input_ids``, ``attention_mask``, ``labels`` (batch, tokens), the vision arguments, further inputs, and
        ``layout``.
        """
        longest = max(record.length for record in records)
        width = -(-longest // self.multiple_of) * self.multiple_of

        def stack(name: str, fill: int | float, dtype: torch.dtype) -> Tensor:
            column = np.full(
                (len(records), width), fill, dtype=np.float32 if dtype.is_floating_point else np.int64
            )
            for line, record in zip(column, records, strict=True):
                begin = width - record.length if self.padding_side == "left" else 0
                line[begin : begin + record.length] = getattr(record, name)
            return torch.from_numpy(column).to(dtype)

        modality = stack("modality", Modality.PADDING, torch.long)
        present = modality != Modality.PADDING
        layout = Layout(
            segment=present.long() - 1,
            modality=modality,
            item=stack("item", -1, torch.long),
            frame=stack("frame", -1, torch.long),
            row=stack("row", -1, torch.long),
            col=stack("col", -1, torch.long),
            speaker=stack("speaker", Speaker.TEMPLATE, torch.long),
            weight=stack("weight", 0.0, torch.float32),
            droppable=(modality == Modality.IMAGE) | (modality == Modality.VIDEO),
        )
        pictures = [(image, record.root) for record in records for image in record.images]
        return {
            "input_ids": stack("input_ids", self.pad_token_id, torch.long),
            "attention_mask": present.long(),
            "labels": stack("labels", -100, torch.long),
            **self.vision(pictures, [len(record.images) for record in records]),
            **(self.further(layout) if self.further is not None else {}),
            **(self.from_records(records) if self.from_records is not None else {}),
            "layout": layout,
        }

"""Encoded records → one padded batch with its layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from vitrail.data.records import Image
from vitrail.models.encoding import Encoded
from vitrail.models.layout import Layout, Modality, Speaker


@runtime_checkable
class VisionInputs(Protocol):
    """Pictures → the model's vision arguments; ``{}`` for no pictures."""

    def __call__(self, images: Sequence[tuple[Image, Path | None]]) -> dict[str, Tensor]:
        """The vision arguments, pictures in order."""
        ...


class Pixels:
    """Decode pictures and run the model's image processor: ``pixel_values (images, 3, height, width)``."""

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor

    def __call__(self, images: Sequence[tuple[Image, Path | None]]) -> dict[str, Tensor]:
        """Whatever the image processor returns, as tensors."""
        if not images:
            return {}
        opened = [image.open(root) for image, root in images]
        return dict(self.image_processor(images=opened, return_tensors="pt"))


class Collator:
    """Pads to the longest record of the batch. An attention mask is always there, and so is the layout.

    ``vision`` turns pictures into the model's arguments; ``padding_side`` is ``"right"`` for training and either for
    reading likelihoods; ``multiple_of`` rounds the length up.
    """

    def __init__(
        self,
        pad_token_id: int,
        vision: VisionInputs,
        *,
        padding_side: Literal["left", "right"] = "right",
        multiple_of: int = 1,
    ) -> None:
        self.pad_token_id = pad_token_id
        self.vision = vision
        self.padding_side = padding_side
        self.multiple_of = multiple_of

    def __call__(self, records: Sequence[Encoded]) -> dict[str, Any]:
        """``input_ids``, ``attention_mask``, ``labels`` (batch, tokens), the vision arguments, and ``layout``."""
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
        return {
            "input_ids": stack("input_ids", self.pad_token_id, torch.long),
            "attention_mask": present.long(),
            "labels": stack("labels", -100, torch.long),
            **self.vision([(image, record.root) for record in records for image in record.images]),
            "layout": layout,
        }

"""A model with everything that is needed to feed it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vitrail.models.batches import Collator, Pixels, VisionInputs
from vitrail.models.encoding import ChatEncoder


@dataclass
class Bundle:
    """A model, its processor, and the encoder of chat records that belongs to it.

    ``vision`` turns pictures into the model's vision arguments: pixels, unless a frozen tower's features are used.
    """

    model: Any
    processor: Any
    encoder: ChatEncoder
    vision: VisionInputs
    name: str = "model"

    @classmethod
    def of(cls, model: Any, processor: Any, *, name: str = "model", max_length: int | None = None) -> Bundle:
        """A bundle that decodes pictures for every batch."""
        return cls(model, processor, processor.encoder(max_length), Pixels(processor.image_processor), name)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.processor.tokenizer

    @property
    def pad_token_id(self) -> int:
        """The padding token; the end token where there is none."""
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else self.tokenizer.eos_token_id

    def collator(self, padding_side: Literal["left", "right"] = "right") -> Collator:
        """A collator that pads on ``padding_side``."""
        return Collator(self.pad_token_id, self.vision, padding_side=padding_side)

    def save(self, folder: Path) -> None:
        """Write model and processor into ``folder``, atomically, in the format of transformers."""
        from vitrail.storage.atomic import new_folder

        with new_folder(Path(folder)) as place:
            self.model.save_pretrained(place)
            self.processor.save_pretrained(place)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

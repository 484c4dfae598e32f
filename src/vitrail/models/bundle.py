"""A model with everything that is needed to feed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from vitrail.data.demonstrations import APART
from vitrail.models.batches import Collator, Pixels, VisionInputs
from vitrail.models.encoding import ChatEncoder
from vitrail.models.families.family import Family
from vitrail.models.families.table import family_of
from vitrail.models.logits import unwrapped
from vitrail.models.surgery import operating


@dataclass
class Bundle:
    """A model, its processor, and the encoder of chat records that belongs to it.

    ``vision`` turns pictures into the model's vision arguments: pixels, unless a frozen tower's features are used.
    ``family`` is what is told about models of this kind (default: looked up by the model's configuration).
    """

    model: Any
    processor: Any
    encoder: ChatEncoder
    vision: VisionInputs
    name: str = "model"
    family: Family = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.family is None:
            self.family = family_of(self.model.config)

    @classmethod
    def of(cls, model: Any, processor: Any, *, name: str = "model", max_length: int | None = None) -> Bundle:
        """A bundle that decodes pictures for every batch.

        ``processor`` has a ``tokenizer`` and, for a model that takes pictures, an ``image_processor``. ValueError if it
        does not fit the model's configuration.
        """
        family = family_of(model.config)
        encoder = encoder_of(family, processor, model.config, max_length)
        images = getattr(processor, "image_processor", None)
        for _, surgery, record in operating.done(model.config):
            images = surgery.image_processor(images, record)
        vision = Pixels(images, family.pixels)
        return cls(model, processor, encoder, vision, name, family)

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
        return Collator(
            self.pad_token_id,
            self.vision,
            further=self.family.further,
            from_records=self._batch_inputs,
            padding_side=padding_side,
        )

    def _batch_inputs(self, records: Sequence[Any]) -> dict[str, Any]:
        """What the model's surgeries read off the records of a batch."""
        found: dict[str, Any] = {}
        for _, surgery, record in operating.done(unwrapped(self.model).config):
            found |= surgery.batch_inputs(records, record)
            found |= surgery.fed_inputs(records, record, self)
        if "demonstrations" not in found and any(getattr(one, "meta", {}).get(APART) for one in records):
            raise ValueError(
                f"a record has demonstrations apart (meta.{APART}), and {self.name} reads none; do the surgery 'aim' "
                "to it (model.surgeries), or show them as text or pictures (show: text)"
            )
        return found

    def operated(self, name: str, settings: dict[str, Any] | None = None, *, seed: int = 0) -> Bundle:
        """The bundle after a surgery on its model, in place: its encoder and pictures follow what the model takes now.

        ValueError as :func:`vitrail.models.surgery.operating.operate`.
        """
        operating.operate(self.model, name, settings, seed=seed)
        return Bundle.of(self.model, self.processor, name=self.name)

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


def encoder_of(family: Family, processor: Any, config: Any, max_length: int | None = None) -> ChatEncoder:
    """The encoder of chat records for a model of ``family``. ValueError if processor and configuration do not fit."""
    tokenizer = processor.tokenizer
    template = getattr(processor, "chat_template", None) or tokenizer.chat_template or family.chat_template
    if not family.takes_pictures:
        return ChatEncoder(
            tokenizer,
            chat_template=template,
            begins_with_bos=family.begins_with_bos,
            max_length=max_length,
        )
    assert family.planner is not None
    planner = family.planner(processor, config)
    for _, surgery, record in operating.done(config):
        planner = surgery.planner(planner, record)
    return ChatEncoder(
        tokenizer,
        image_token_id=config.image_token_id,
        planner=planner,
        stand_ins=family.stand_ins(processor, config),
        chat_template=template,
        begins_with_bos=family.begins_with_bos,
        max_length=max_length,
        cannot_interleave="" if family.interleave else family.interleave.reason,
    )

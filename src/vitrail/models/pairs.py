"""Pairs of a picture and a text: what a dual encoder trains on, from records to batches.

A chat with one picture is a pair: the picture, and what its assistant turns say (of weight above 0, joined by a
space). A :class:`~vitrail.data.records.Group` of relation ``"pair"`` with a picture and a text is one, too. Anything
else is refused with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vitrail.data.records import Chat, Group, Image, Record, Text
from vitrail.models.batches import VisionInputs
from vitrail.models.bundle import Bundle
from vitrail.models.families.table import family_of

IMAGE_KEY, TEXT_KEY = "image_key", "text_key"
"""Entries of a batch ``(batch,)``: equal numbers stand for equal pictures, equal texts."""


@dataclass(frozen=True)
class EncodedPair:
    """A text as tokens, and its picture. ``text_key`` and ``image_key`` identify the two by content."""

    input_ids: np.ndarray
    text: str
    images: tuple[Image]
    text_key: int
    image_key: int
    root: Path | None = None
    id: str | None = None

    @property
    def length(self) -> int:
        """Tokens of the text."""
        return len(self.input_ids)

    @property
    def labelled(self) -> int:
        """All of the text is learnt."""
        return len(self.input_ids)


class PairEncoder:
    """Turns records into pairs for one tokenizer; a text longer than ``max_length`` tokens is cut, as CLIP cuts it."""

    chat_template = ""
    end_of_turn: tuple[int, ...] = ()
    image_token_id = None
    planner = None

    def __init__(self, tokenizer: Any, max_length: int | None = None) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    def encode(self, record: Record, *, root: Path | None = None) -> EncodedPair:
        """The record's pair. ValueError with the reason where it is none."""
        image, text = pair_of(record)
        tokens = self.tokenizer(text, truncation=self.max_length is not None, max_length=self.max_length)
        return EncodedPair(
            input_ids=np.asarray(tokens["input_ids"], dtype=np.int64),
            text=text,
            images=(image,),
            text_key=_key(text.encode()),
            image_key=_key(image.read(root)),
            root=root,
            id=record.id,
        )


def pair_of(record: Record) -> tuple[Image, str]:
    """The picture and the text of a record. ValueError with the reason where it is no pair."""
    if isinstance(record, Chat):
        images: list[Any] = record.images
        said = [turn for turn in record.messages if turn.role == "assistant" and turn.weight > 0]
        texts = [turn.text.strip() for turn in said]
    elif isinstance(record, Group) and record.relation == "pair":
        parts = [part for item in record.items for part in item]
        images = [part for part in parts if isinstance(part, Image)]
        texts = [part.text.strip() for part in parts if isinstance(part, Text)]
    else:
        what = (
            f"a group of relation {record.relation!r}" if isinstance(record, Group) else f"a {_kind(record)}"
        )
        raise ValueError(f"a dual encoder trains on chats with one picture and on pairs, and this is {what}")
    text = " ".join(filter(None, texts))
    if len(images) != 1:
        raise ValueError(f"it has {len(images)} pictures; a pair has one")
    if not text:
        raise ValueError("it has no text: a pair is a picture and what an assistant's turn says")
    return images[0], text


class PairCollator:
    """Pads the texts on the right; ``vision`` turns pictures into the model's arguments.

    ``masked=False`` is for models that were trained without a mask on texts of ``width`` tokens (SigLIP): every text is
    padded to that width, and no mask is passed.
    """

    def __init__(
        self, pad_token_id: int, vision: VisionInputs, *, masked: bool = True, width: int | None = None
    ) -> None:
        self.pad_token_id, self.vision, self.masked, self.width = pad_token_id, vision, masked, width

    def __call__(self, pairs: Sequence[EncodedPair]) -> dict[str, Any]:
        """``input_ids``, ``attention_mask`` (batch, tokens), the vision arguments, and the two keys."""
        width = max(pair.length for pair in pairs)
        if not self.masked and self.width is not None:
            width = self.width
        ids = torch.full((len(pairs), width), self.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, pair in enumerate(pairs):
            ids[row, : pair.length] = torch.from_numpy(pair.input_ids)
            mask[row, : pair.length] = 1
        pictures = [(pair.images[0], pair.root) for pair in pairs]
        batch: dict[str, Tensor] = {"input_ids": ids}
        if self.masked:
            batch["attention_mask"] = mask
        return {
            **batch,
            **self.vision(pictures, [1] * len(pairs)),
            IMAGE_KEY: torch.tensor([pair.image_key for pair in pairs]),
            TEXT_KEY: torch.tensor([pair.text_key for pair in pairs]),
        }


@dataclass
class DualBundle(Bundle):
    """A dual encoder (ours, a CLIP, a SigLIP) with what feeds it: records become pairs."""

    @classmethod
    def of(
        cls, model: Any, processor: Any, *, name: str = "model", max_length: int | None = None
    ) -> DualBundle:
        """A bundle that decodes pictures for every batch. ValueError for a model that is no dual encoder."""
        from vitrail.models.batches import Pixels
        from vitrail.models.families.family import PixelRules

        family = family_of(model.config)
        if family.kind != "dual encoder":
            raise ValueError(
                f"{model.config.model_type!r} is no dual encoder; use vitrail.models.bundle.Bundle"
            )
        limit = text_limit(model, processor.tokenizer)
        encoder: Any = PairEncoder(processor.tokenizer, min(max_length or limit, limit))
        return cls(model, processor, encoder, Pixels(processor.image_processor, PixelRules()), name, family)

    def collator(self, padding_side: Literal["left", "right"] = "right") -> Any:
        """A collator of pairs; texts are padded on the right."""
        masked = takes_mask(self.model, self.tokenizer)
        width = text_limit(self.model, self.tokenizer)
        return PairCollator(self.pad_token_id, self.vision, masked=masked, width=width)


def takes_mask(model: Any, tokenizer: Any) -> bool:
    """Whether the text side takes a mask; SigLIP's, which reads its last position, was trained without."""
    fixed = hasattr(model.config.text_config, "projection_size")  # SigLIP's alone has one
    return "attention_mask" in tokenizer.model_input_names and not fixed


def text_limit(model: Any, tokenizer: Any) -> int:
    """The most tokens that a text may have: the model's positions, or fewer where the tokenizer says so."""
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    limits = [tokenizer.model_max_length, *([positions] if positions else [])]
    return int(min(limits))


def _key(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


def _kind(record: Any) -> str:
    return str(getattr(record, "kind", type(record).__name__))

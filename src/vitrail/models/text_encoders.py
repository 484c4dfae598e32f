"""Masked encoders of text (BERT, RoBERTa, XLM-R, ModernBERT) with what feeds them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.models.bundle import Bundle
from vitrail.models.families.table import family_of
from vitrail.models.folders import ProcessorParts, first_line
from vitrail.models.loading import from_safetensors, load_config, model_source
from vitrail.models.sentences import SentenceCollator, SentenceEncoder

_OTHER_HEADS = ("pooler.", "cls.seq_relationship", "position_ids")
"""Weights of a checkpoint that masked prediction has no place for: next-sentence prediction's, and fixed tables."""


@dataclass
class TextEncoderBundle(Bundle):
    """A masked encoder with its head: documents of text and translations become sentences."""

    @classmethod
    def of(
        cls, model: Any, processor: Any, *, name: str = "model", max_length: int | None = None
    ) -> TextEncoderBundle:
        """ValueError for a model of another kind, or a tokenizer without a token for masks."""
        family = family_of(model.config)
        if family.kind != "encoder":
            raise ValueError(f"{model.config.model_type!r} is no masked encoder")
        if processor.tokenizer.mask_token_id is None:
            raise ValueError("the tokenizer has no token for masks (mask_token); set one, or take another")
        limit = text_limit(model, processor.tokenizer)
        encoder: Any = SentenceEncoder(processor.tokenizer, min(max_length or limit, limit))
        vision: Any = _NoPictures()
        return cls(model, processor, encoder, vision, name, family)

    def collator(self, padding_side: Literal["left", "right"] = "right") -> Any:
        """A collator of sentences, which pads on the right."""
        takes = inspect.signature(type(self.model).forward).parameters
        return SentenceCollator(self.pad_token_id, ("input_ids", "attention_mask", *takes))

    def embed(
        self, texts: Sequence[str], batch_size: int = 32, pooling: Literal["mean", "first"] = "mean"
    ) -> Float[Tensor, "texts dim"]:
        """A vector for each text, float32: the mean of its tokens' last states, special ones left out, or the first
        token's. A text's vector does not depend on the others beside it.
        """
        from vitrail.data.records import Document, Text

        encoded: list[Any] = [self.encoder.encode(Document(content=(Text(text=text),))) for text in texts]
        order = sorted(range(len(encoded)), key=lambda place: encoded[place].length)
        found: list[Tensor] = [torch.empty(0)] * len(encoded)
        collator, body = self.collator(), self.model.base_model
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                places = order[start : start + batch_size]
                batch = collator([encoded[place] for place in places])
                kept = ~batch["special"]
                takes = inspect.signature(type(body).forward).parameters
                inputs = {name: value.to(self.device) for name, value in batch.items() if name in takes}
                states = body(**inputs).last_hidden_state.float().cpu()
                for row, place in enumerate(places):
                    found[place] = states[row][kept[row]].mean(0) if pooling == "mean" else states[row, 0]
        return torch.stack(found)


class _NoPictures:
    fingerprint = ""

    def __call__(self, images: Any, counts: Any = None) -> dict[str, Tensor]:
        return {}


def text_limit(model: Any, tokenizer: Any) -> int:
    """The most tokens of a row: the model's positions (two fewer where padding takes the first), or the tokenizer's."""
    config = model.config
    positions = int(getattr(config, "max_position_embeddings", 512))
    if config.model_type in ("roberta", "xlm-roberta"):
        positions -= int(config.pad_token_id) + 1
    return int(min(positions, tokenizer.model_max_length))


def load_text_encoder(
    path: Any, *, max_length: int | None = None, dtype: Any = None, **options: Any
) -> TextEncoderBundle:
    """Load ``path`` (a model's folder, a run's, or a hub name) with its masked head, in evaluation mode.

    Weights come from safetensors only, and no remote code runs. ValueError if weights are missing: an encoder that was
    saved without its head has nothing to predict with.
    """
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    source = model_source(path)
    config = load_config(source)
    if dtype is not None:
        options["dtype"] = dtype
    model = from_safetensors(AutoModelForMaskedLM, source, config, left_over=_OTHER_HEADS, **options)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # tokenizers raises Exception itself for a file that it cannot read
        raise ValueError(f"{source} has no tokenizer that can be read: {first_line(error)}") from None
    if len(tokenizer) <= len(
        tokenizer.all_special_ids
    ):  # transformers makes an empty one where there is no file
        raise ValueError(f"{source} has no tokenizer that can be read: it holds no tokenizer.json")
    return TextEncoderBundle.of(
        model.eval(), ProcessorParts(tokenizer), name=str(path), max_length=max_length
    )

"""The prompts on which an exported model is compared with the one that it was made of."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image as PILImage
from torch import Tensor

from vitrail.data.records import Chat, Document, Image, Record, Text
from vitrail.inference.inputs import forward_parameters, model_inputs
from vitrail.models.bundle import Bundle

TEXTS = ("What is the capital of France?", "Name three colours, and say which of them the sky has at noon.")
ASKED = "What is in this picture, and where?"
SIZES = ((97, 64), (40, 120))
"""Of the pictures, in pixels: none has the shape that a tower wants."""


def picture(seed: int, size: tuple[int, int]) -> Image:
    """A picture of ``size`` (width, height): a gradient and noise, the same on every machine."""
    wide, high = size
    across, down = np.meshgrid(np.linspace(0, 200, wide), np.linspace(0, 200, high))
    noise = np.random.default_rng(seed).integers(0, 56, (high, wide, 3))
    pixels = (np.stack([across, down, (across + down) / 2], axis=-1) + noise).astype(np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=wide, height=high)


def records(kind: str, several: bool = False) -> list[Record]:
    """Prompts for a model of ``kind`` (a family's); ``several``: one of them with two pictures."""
    pictures = [picture(seed, size) for seed, size in enumerate(SIZES)]
    if kind == "encoder":
        return [Document(content=(Text(text=text),)) for text in TEXTS]
    if kind == "dual encoder":
        turns = [
            ({"role": "user", "content": (one,)}, {"role": "assistant", "content": (Text(text=text),)})
            for one, text in zip(pictures, TEXTS, strict=True)
        ]
        return [Chat(messages=turn) for turn in turns]  # type: ignore[arg-type]
    contents: list[tuple[Any, ...]] = [(Text(text=text),) for text in TEXTS]
    if kind == "multimodal":
        contents += [(one, Text(text=ASKED)) for one in pictures]
        contents += [(*pictures, Text(text="What differs?"))] if several else []
    return [Chat(messages=({"role": "user", "content": one},)) for one in contents]  # type: ignore[arg-type]


def encoded_inputs(bundle: Bundle, record: Record) -> dict[str, Tensor]:
    """A prompt as the tensors that the model takes, one row."""
    options = {"add_generation_prompt": True} if bundle.family.kind in ("language", "multimodal") else {}
    encoded = bundle.encoder.encode(record, **options)  # type: ignore[arg-type]
    inputs = model_inputs(bundle.model, bundle.collator("left")([encoded]))
    takes = forward_parameters(bundle.model)
    return {name: value for name, value in inputs.items() if name in takes and isinstance(value, Tensor)}


def as_messages(record: Chat, place: Any) -> list[dict[str, Any]]:
    """A chat as the messages that a processor's chat template takes; its pictures are written into ``place``."""
    told = []
    for message in record.messages:
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, Image):
                file = place / f"picture-{len(list(place.glob('picture-*')))}.png"
                file.write_bytes(part.read())
                parts.append({"type": "image", "path": str(file)})
            elif isinstance(part, Text):
                parts.append({"type": "text", "text": part.text})
        told.append({"role": message.role, "content": parts})
    return told

"""Tiny dual encoders of transformers (CLIP, SigLIP) with the image processors and tokenizers of their kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as T
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import family_files

KINDS = ("clip", "siglip")


def build(kind: str, context: int = 16) -> tuple[Any, Any, Any]:
    """Model, image processor (16 × 16 pixels) and tokenizer; ``context``: the longest text, in tokens."""
    text = {
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
    }
    vision = {**text, "image_size": 16, "patch_size": 4}
    del vision["vocab_size"], vision["max_position_embeddings"]
    tokenizer = family_files.tokenizer("qwen2_vl")
    torch.manual_seed(0)
    if kind == "clip":
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        config = T.CLIPConfig(
            text_config={**text, **ends, "projection_dim": 16},
            vision_config={**vision, "projection_dim": 16},
            projection_dim=16,
        )
        images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        return T.CLIPModel(config), images, tokenizer
    config = T.SiglipConfig(text_config={**text, "projection_size": 32}, vision_config=vision)
    return T.SiglipModel(config), SiglipImageProcessorPil(size={"height": 16, "width": 16}), tokenizer


def save(kind: str, place: Path, context: int = 16) -> None:
    """The same as a folder of transformers."""
    for part in build(kind, context):
        part.save_pretrained(place)

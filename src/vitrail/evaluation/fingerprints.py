"""What an answer depends on, as hashes: weights, processor, prompt."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from vitrail.storage.cache import key

if TYPE_CHECKING:
    from torch import nn

    from vitrail.models.bundle import Bundle


def weights(model: nn.Module) -> str:
    """SHA-256 over every parameter and buffer, by name."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(raw.numpy()))
    return digest.hexdigest()


def processor(bundle: Bundle) -> str:
    """Hash of tokenizer, image processor and how pictures become inputs."""
    image_processor: Any = getattr(bundle.processor, "image_processor", None)
    # Here, since the rooms below import torch, which reading a task and scoring its answers need not wait for.
    from vitrail.models.tokenising import written_whole

    settings = (
        image_processor.to_dict() if hasattr(image_processor, "to_dict") else repr(type(image_processor))
    )
    vocabulary = written_whole(bundle.tokenizer)
    vision = f"{type(bundle.vision).__name__} {getattr(bundle.vision, 'fingerprint', '')}"
    return key("processor", vocabulary, json.dumps(settings, sort_keys=True, default=str), vision)


def prompt(bundle: Bundle, instruction: dict[str, Any]) -> str:
    """Hash of the instruction, the chat template, and the tokens that end a turn."""
    template = str(bundle.encoder.chat_template)
    return key("prompt", json.dumps(instruction, sort_keys=True), template, list(bundle.encoder.end_of_turn))

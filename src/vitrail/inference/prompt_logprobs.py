"""The log-probability of every token of a prompt, and the likeliest tokens at each place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vitrail.inference.completion import Token, measured
from vitrail.inference.inputs import evaluating, model_inputs, takes_use_cache
from vitrail.models.logits import logits_at

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

VALUES = 2**27
"""Logits held at once at most: a long prompt over a large vocabulary is read in several forwards."""


def prompt_logprobs(bundle: Bundle, prompt: Encoded, top: int = 0) -> tuple[Token, ...]:
    """Each token of ``prompt`` in order with its log-probability (nats), given all before it; the first has none."""
    ids = prompt.input_ids.tolist()
    inputs = model_inputs(bundle.model, bundle.collator("right")([prompt]))
    uncached: dict[str, Any] = {"use_cache": False} if takes_use_cache(bundle.model) else {}
    window = max(1, VALUES // len(bundle.tokenizer))
    found = [Token(ids[0])]
    with evaluating(bundle.model):
        for start in range(0, len(ids) - 1, window):
            end = min(start + window, len(ids) - 1)
            keep = torch.zeros_like(inputs["attention_mask"], dtype=torch.bool)
            keep[0, start:end] = True
            rows = logits_at(bundle.model, keep, **inputs, **uncached).logits.float().log_softmax(-1)
            found += [measured(ids[start + n + 1], row, top) for n, row in enumerate(rows)]
    return tuple(found)

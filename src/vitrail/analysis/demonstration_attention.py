"""Where an answer looks in a few-shot prompt: at the demonstrations' text, or at their pictures (arXiv 2406.07588, §3).

AIM's finding: mostly at the text, which has taken in the picture. Attention of the last position of the prompt, its
mean over heads and layers; the shares of all four add up to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vitrail.data.demonstrations import exchanges
from vitrail.data.records import Chat
from vitrail.inference.inputs import evaluating, model_inputs
from vitrail.models.capture import attention_rows
from vitrail.models.layout import Modality
from vitrail.models.surgery.reading_apart import exchange_spans

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


@dataclass(frozen=True)
class AttentionShares:
    """Shares of attention: the demonstrations' ``text`` and ``pictures``, the ``question`` with its picture, ``rest``
    (the template, and what is said in front).
    """

    text: float
    pictures: float
    question: float
    rest: float


def attention_shares(
    bundle: Bundle, chat: Chat, layers: Sequence[int] | None = None, root: Path | None = None
) -> AttentionShares:
    """Of a chat that ends with a question, demonstrations in front. ValueError for one without demonstrations."""
    k = exchanges(chat)
    if not k:
        raise ValueError("the chat has no demonstration in front of its question; give a few-shot chat")
    prompt = bundle.encoder.encode(chat, add_generation_prompt=True, root=root)
    spans = exchange_spans(prompt, k)
    inputs = model_inputs(bundle.model, bundle.collator()([prompt]))
    chosen = range(len(bundle.model.get_decoder().layers)) if layers is None else layers
    with evaluating(bundle.model), attention_rows(bundle.model, chosen) as found:
        bundle.model(**inputs, use_cache=False)
    rows = torch.stack([rows[0, :, 0].mean(0) for rows in found.values()]).mean(0).cpu().numpy()
    shown, visual = np.zeros(prompt.length, bool), prompt.modality == int(Modality.IMAGE)
    for start, stop in spans:
        shown[start:stop] = True
    behind = np.arange(prompt.length) >= spans[-1][1]
    masks = (shown & ~visual, shown & visual, behind, ~shown & ~behind)
    return AttentionShares(*(float(rows[mask].sum()) for mask in masks))

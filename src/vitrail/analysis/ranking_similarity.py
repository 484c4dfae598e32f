"""How alike layers rank visual tokens by the attention that words pay them (G-Search, arXiv 2412.00556)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitrail.inference.inputs import evaluating, model_inputs
from vitrail.models.capture import attention_rows
from vitrail.models.layout import Layout
from vitrail.models.rules.target import Target


def visual_importance(
    attention: Float[Tensor, "batch heads rows tokens"],
    visual: Bool[Tensor, "batch tokens"],
    asking: Bool[Tensor, "batch rows"],
    reduce: Literal["mean", "max"] = "mean",
) -> Float[Tensor, "batch tokens"]:
    """Attention paid to each visual token by the rows that are ``asking``, averaged over heads and over those rows.

    ``reduce`` ``"max"`` takes the largest over the rows instead. Zero at other tokens. ValueError for a batch row in
    which nothing asks.
    """
    if not bool(asking.any(-1).all()):
        row = int((~asking.any(-1)).nonzero()[0])
        raise ValueError(f"row {row} has no words behind its picture, so nothing ranks its visual tokens")
    paid = torch.where(asking[..., None], attention.mean(1), 0.0)
    found = paid.amax(1) if reduce == "max" else paid.sum(1) / asking.sum(-1, keepdim=True)
    return torch.where(visual, found, 0.0)


def asking_rows(layout: Layout) -> Bool[Tensor, "batch tokens"]:
    """The words behind each row's last visual token."""
    place = torch.arange(layout.shape[1], device=layout.segment.device)
    last = torch.where(layout.visual, place, -1).amax(-1, keepdim=True)
    return layout.present & ~layout.visual & (place > last)


def ranking_similarity(
    model: nn.Module, batch: Mapping[str, Any], measure: Literal["kendall", "spearman"] = "spearman"
) -> Float[np.ndarray, "layers layers"]:
    """Rank correlations of every two layers' importance of visual tokens, averaged over the rows of a collated batch.

    ValueError for a row with fewer than two visual tokens, or no word behind them.
    """
    from scipy import stats

    layout: Layout = batch["layout"]
    few = (layout.visual.sum(-1) < 2).nonzero()
    if len(few):
        raise ValueError(f"row {int(few[0])} has fewer than two visual tokens, which have no ranking")
    depth = Target.of(model).num_layers
    inputs = model_inputs(model, batch)
    layout = layout.to(inputs["input_ids"].device)
    rows = torch.arange(layout.shape[1], device=layout.segment.device).expand(layout.shape)
    asking, values = asking_rows(layout), []
    with evaluating(model):
        for layer in range(depth):  # one at a time: a layer's attention of all rows is large
            with attention_rows(model, [layer], rows) as found:
                model(**inputs, use_cache=False)
            values.append(visual_importance(found[layer], layout.visual, asking))
    correlate = stats.kendalltau if measure == "kendall" else stats.spearmanr
    table = np.zeros((depth, depth))
    for row in range(layout.shape[0]):
        ranked = [one[row][layout.visual[row]].cpu().numpy() for one in values]
        table += [[1.0 if a is b else float(correlate(a, b).statistic) for b in ranked] for a in ranked]
    return table / layout.shape[0]

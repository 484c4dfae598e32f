"""Ready rules about which tokens leave between layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from vitrail.models.rules.rule import Drop, Rule, Seen


def drop_at(
    layer: int,
    keep: Callable[[Seen], Bool[Tensor, "batch tokens"]],
    *,
    scores_of: tuple[int, ...] = (),
    text_scores_of: tuple[int, ...] = (),
    name: str | None = None,
) -> Rule:
    """A rule of your own: at the entrance of ``layer`` tokens leave for which ``keep(seen)`` is False.

    Only tokens that ``layout.droppable`` allows may leave; rows may keep unequally many. ``scores_of`` names layers
    below ``layer`` whose attention from the row's last token ``keep`` wants to look at (``seen.scores[layer]``);
    ``text_scores_of`` those whose attention from the words behind the pictures it wants (``seen.text_scores``).
    """
    named = name or f"drop_at({layer})"
    if layer < 0:
        raise ValueError(f"{named}: layers are numbered from 0")
    return Rule(named, drops=(Drop(named, layer, keep, scores_of, text_scores_of),))


def keep_given(layer: int, keep: Bool[Tensor, "batch tokens"]) -> Rule:
    """From ``layer`` on only the tokens marked in ``keep`` ``(batch, tokens)`` are there."""

    def choose(seen: Seen) -> Bool[Tensor, "batch tokens"]:
        batch = seen.layout.shape[0]
        if keep.shape[1] != seen.layout.shape[1] or batch % len(keep):
            raise ValueError(
                f"keep_given: keep is {tuple(keep.shape)}, the batch (batch, tokens) = {tuple(seen.layout.shape)}"
            )
        return keep.to(seen.alive.device).repeat_interleave(batch // len(keep), dim=0)

    return drop_at(layer, choose, name=f"keep_given({layer})")


def keep_attended(layer: int, ratio: float, *, scores_of: int | None = None) -> Rule:
    """From ``layer`` on each row keeps the ``ratio`` of its droppable tokens that its last token attends to most.

    Attention is that of layer ``scores_of`` (default: the one before), averaged over heads; the number kept is
    rounded up. FastV (Chen et al. 2024), Eq. 2, with its rank by received attention taken from the last token alone,
    as its code does.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"keep_attended(ratio={ratio}): give a share above 0 and up to 1")
    looked = layer - 1 if scores_of is None else scores_of
    if not 0 <= looked < layer:
        raise ValueError(f"keep_attended(layer={layer}): attention must come from a layer before, at least 0")

    def choose(seen: Seen) -> Bool[Tensor, "batch tokens"]:
        droppable = seen.layout.droppable & seen.alive
        value = torch.where(droppable, seen.scores[looked].mean(1), -torch.inf)
        wanted = torch.ceil(droppable.sum(-1) * ratio - 1e-9).long()
        rank = value.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return ~droppable | (rank < wanted[:, None])

    return drop_at(layer, choose, scores_of=(looked,), name=f"keep_attended({layer}, {ratio:g})")

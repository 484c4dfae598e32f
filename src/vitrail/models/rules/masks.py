"""Ready rules about who may see whom.

Each is a function of the layout: of what tokens are, never of where they happen to stand in a batch. Distances are
counted in tokens that are there, so padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.models.layout import Layout
from vitrail.models.rules.positions import segment_positions
from vitrail.models.rules.rule import OWN, Hold, Join, Leaf, Pairs, Predicate, Rule


def narrowing(name: str, see: Predicate, *, per_head: bool = False, needs_layout: bool = True) -> Rule:
    """A rule of your own that takes away: a pair is seen if the rest allows it *and* ``see(layout)(b, h, q, k)`` does.

    ``per_head`` asks for a mask of every head (more memory); otherwise ``h`` is always 0.
    """
    return Rule(name, Leaf(name, see, narrows=True, per_head=per_head, needs_layout=needs_layout))


def widening(name: str, see: Predicate, *, per_head: bool = False) -> Rule:
    """A rule of your own that adds: a pair is seen if the model's own mask allows it *or* ``see`` does."""
    return Rule(name, Join("|", OWN, Leaf(name, see, narrows=False, per_head=per_head)))


def own() -> Rule:
    """The model's own mask, to be or-ed with others: causal, with its windows and bidirectional pictures."""
    return Rule("own", OWN)


def causal() -> Rule:
    """Every token sees itself and all before it, *instead of* the model's own mask (and its windows)."""
    return Rule("causal", Leaf("causal", lambda _: _causal, narrows=False, needs_layout=False))


def same_segment() -> Rule:
    """Packed samples do not see each other, whatever else is combined with it, and each counts its positions from 0.

    With it a packed sample gives what it gives alone, in every family, with a cache and with any mask.
    """
    return Rule("same_segment", isolation=(_ISOLATION,), positions=(segment_positions,))


def visual_isolated(within: Literal["token", "item"] = "token") -> Rule:
    """Visual tokens do not see other visual tokens, or with ``within="item"`` only those of their own picture.

    Text sees all of them as before.
    """
    if within not in ("token", "item"):
        raise ValueError(f"visual_isolated(within={within!r}): give 'token' or 'item'")

    def see(layout: Layout) -> Pairs:
        visual, item = layout.visual, _items(layout)

        def pairs(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            together = item[b, q] == item[b, k] if within == "item" else q == k
            return ~(visual[b, q] & visual[b, k]) | together

        return pairs

    return narrowing(f"visual_isolated({within})", see)


def latest_picture(*, evict: bool = True) -> Rule:
    """A token sees the visual tokens of one picture or video only: its own, or the last that begins before it.

    With ``evict`` the cache forgets those that no later token can see; results stay equal.
    """

    def see(layout: Layout) -> Pairs:
        visual, item = layout.visual, _items(layout)
        latest = filled_forward(item)
        return lambda b, h, q, k: ~visual[b, k] | (item[b, k] == latest[b, q])

    def keep(layout: Layout, seen: int) -> Bool[Tensor, "seen"]:
        item = _items(layout)[:, :seen]
        stays = ~layout.visual[:, :seen] | (item == filled_forward(item)[:, -1:])
        return (stays & layout.present[:, :seen]).any(0)

    rule = narrowing("latest_picture", see)
    return Rule(rule.name, rule.mask, held=(Hold(rule.name, keep),)) if evict else rule


def filled_forward(number: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch tokens"]:
    """Each −1 replaced by what stands before it in its row."""
    place = torch.arange(number.shape[1], device=number.device)
    return number.gather(1, torch.where(number >= 0, place, 0).cummax(-1).values)


def frame_causal() -> Rule:
    """The tokens of one frame (of a video, or one tile of a picture) see each other in both directions; otherwise
    the model's own mask: frames see earlier frames, never later ones.
    """
    return widening("frame_causal", _same(_frames))


def bidirectional_items() -> Rule:
    """The tokens of one picture or video see each other in both directions; otherwise the model's own mask."""
    return widening("bidirectional_items", _same(_items))


def window(size: int, *, sinks: int = 0, evict: bool = True) -> Rule:
    """A token sees the last ``size`` tokens, itself included, and the first ``sinks`` of its segment.

    With ``evict`` the cache forgets what no later token can see: memory stays bounded, results stay equal. Sinks:
    StreamingLLM (Xiao et al. 2024); positions here stay those of the text, they are not renumbered within the cache.
    """
    if size < 1 or sinks < 0:
        raise ValueError(f"window(size={size}, sinks={sinks}): size must be at least 1 and sinks at least 0")

    def see(layout: Layout) -> Pairs:
        rank, first = _rank(layout), _first(layout, sinks)

        def pairs(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (rank[b, q] - rank[b, k] < size) | first[b, k]

        return pairs

    name = f"window({size}, sinks={sinks})" if sinks else f"window({size})"

    def keep(layout: Layout, seen: int) -> Bool[Tensor, "seen"]:
        rank, first = _rank(layout)[:, :seen], _first(layout, sinks)[:, :seen]
        present = layout.present[:, :seen]
        near = rank[:, -1:] + 1 - rank < size
        return ((near | first) & present).any(0)

    rule = narrowing(name, see, needs_layout=sinks > 0)
    return Rule(name, rule.mask, held=(Hold(name, keep),)) if evict else rule


def _causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return k <= q


def _same(group: Callable[[Layout], Int[Tensor, "batch tokens"]]) -> Predicate:
    """Tokens of one group see each other; −1 is in no group, except of segments: padding is with padding."""

    def see(layout: Layout) -> Pairs:
        number = group(layout)
        if number is layout.segment:
            return lambda b, h, q, k: number[b, q] == number[b, k]
        return lambda b, h, q, k: (number[b, q] == number[b, k]) & (number[b, q] >= 0)

    return see


_ISOLATION = Leaf("same_segment", _same(lambda layout: layout.segment), narrows=True)


def _items(layout: Layout) -> Int[Tensor, "batch tokens"]:
    """A number for each picture or video of each packed sample; −1 at text."""
    number = layout.segment * (layout.item.max() + 1) + layout.item
    return torch.where(layout.visual & (layout.item >= 0), number, -1)


def _frames(layout: Layout) -> Int[Tensor, "batch tokens"]:
    """A number for each frame of each picture or video of each packed sample; −1 at text."""
    items = _items(layout)
    return torch.where(items >= 0, items * (layout.frame.max() + 2) + layout.frame + 1, -1)


def _rank(layout: Layout) -> Int[Tensor, "batch tokens"]:
    """How many tokens that are there stand before each."""
    return layout.present.long().cumsum(-1) - 1


def _first(layout: Layout, count: int) -> Bool[Tensor, "batch tokens"]:
    """Whether a token is among the first of its segment."""
    start = segment_positions.give(layout, 1) < count
    return start & layout.present

"""Ready rules about where tokens are."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from vitrail.models.layout import Layout, Modality
from vitrail.models.rules.rule import Positions, Rule


def given_positions(positions: Tensor, name: str = "given_positions") -> Rule:
    """Positions that are known: ``(batch, tokens)``, or ``(3, batch, tokens)`` (time, height, width) for Qwen-VL's.

    They count from 0; models that count from 1 keep their own beginning.
    """
    if positions.ndim not in (2, 3) or (positions.ndim == 3 and len(positions) != 3):
        raise ValueError(
            f"positions have the shape {tuple(positions.shape)}; give (batch, tokens) or (3, batch, tokens)"
        )

    def give(layout: Layout, axes: int) -> Tensor:
        batch, tokens = layout.shape
        own = positions.shape[-2]
        if batch % own or tokens != positions.shape[-1]:
            raise ValueError(
                f"{name} are for {own} rows of {positions.shape[-1]} tokens, the batch has {batch} of {tokens}"
            )
        found = positions.to(layout.segment.device)
        if found.ndim == 3 and axes == 1:
            raise ValueError(
                f"{name} have three axes, but this model's positions have one; give (batch, tokens)"
            )
        return found.repeat_interleave(batch // own, dim=-2)

    return Rule(name, positions=(Positions(name, give),))


def _count(layout: Layout) -> Int[Tensor, "batch tokens"]:
    """Place of each token in its segment, padding not counted."""
    present = layout.present
    rank = present.long().cumsum(-1) - 1
    begins = present & (layout.segment != torch.nn.functional.pad(layout.segment, (1, 0), value=-1)[:, :-1])
    return (rank - torch.where(begins, rank, 0).cummax(-1).values).clamp(min=0)


def _segment_positions(layout: Layout, axes: int) -> Tensor:
    if axes == 1:
        return _count(layout)
    return three_axes(layout)


segment_positions = Positions("segment positions", _segment_positions)
"""Each segment counts from 0: plainly, or on three axes as Qwen2-VL counts text and pictures."""


def three_axes(layout: Layout) -> Int[Tensor, "3 batch tokens"]:
    """Positions of Qwen2-VL (Wang et al. 2024), each segment from 0: text advances all axes together; a picture's
    tokens share the time and spread over height and width; what follows begins behind the largest of them.

    Pictures need ``row`` and ``col``; a visual token without them counts as text. ValueError for videos, whose time
    axis differs between families: give theirs with ``given_positions``.
    """
    if bool((layout.modality == Modality.VIDEO).any()):
        raise ValueError(
            "positions of videos differ between Qwen-VL's families; give them with given_positions(positions), "
            "as get_rope_index of the model returns them, & same_segment()"
        )
    found = torch.zeros(3, *layout.shape, dtype=torch.long, device=layout.segment.device)
    for index in range(layout.shape[0]):
        _one_row(found[:, index], layout, index)
    return found


def _one_row(found: Int[Tensor, "3 tokens"], layout: Layout, index: int) -> None:
    segment, item = layout.segment[index].tolist(), layout.item[index].tolist()
    grid = (layout.visual & (layout.row >= 0) & (layout.col >= 0))[index].tolist()
    rows, cols = layout.row[index], layout.col[index]
    at, begin, width = 0, 0, len(segment)
    while begin < width:
        end = begin + 1
        if segment[begin] < 0:
            begin = end
            continue
        if begin == 0 or segment[begin] != segment[begin - 1]:
            at = 0
        same = (segment[begin], grid[begin], item[begin] if grid[begin] else None)
        while end < width and (segment[end], grid[end], item[end] if grid[end] else None) == same:
            end += 1
        place = slice(begin, end)
        if grid[begin]:
            found[0, place], found[1, place], found[2, place] = at, at + rows[place], at + cols[place]
            at = int(found[:, place].max()) + 1
        else:
            found[:, place] = torch.arange(at, at + end - begin, device=found.device)
            at += end - begin
        begin = end

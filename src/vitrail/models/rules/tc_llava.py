"""TC-LLaVA (2024, arXiv 2409.03206): an image model reads frames with time in its positions and a mask by frames.

**Temporal-aware dual RoPE.** Beside its running index m a token has a temporal index t(m), one for all tokens of a
frame. Queries and keys are rotated by both, R(m) · R(γ t(m)). Rotations in the same planes compose, so this is
ordinary RoPE at

    p(m) = m + γ t(m),

and it runs in every model whose rotary module multiplies positions (float ones included) with its frequencies.
**Frame-wise block causal mask.** allowed(i, j) = j ≤ i, or i and j are visual tokens of the same frame.

t advances by 1 at each text token and at each new frame. That text advances it is taken from a re-implementation
(VideoRoPE's baseline), so ``text_temporal="constant"`` is offered beside it. What an image plan writes between the
tiles of one picture (line and tile markers) stands within that picture and shares its t; in the mask it is text.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.models.layout import Layout, Modality
from vitrail.models.rules.masks import filled_forward, widening
from vitrail.models.rules.positions import segment_positions
from vitrail.models.rules.rule import Pairs, Positions, Rule

Frames = Literal["images", "video"]
TextTemporal = Literal["running", "constant"]
MaskKind = Literal["frames", "visual", "none"]


def tc_llava(
    gamma: float = 1.0,
    *,
    mask: MaskKind = "frames",
    rope: bool = True,
    frames: Frames = "images",
    text_temporal: TextTemporal = "running",
    trained: int | None = None,
) -> Rule:
    """The rule of TC-LLaVA, or one half of it.

    Args:
        gamma: the weight γ of the temporal index; 0 gives the model's own positions.
        mask: ``frames`` as published, ``visual`` lets all visual tokens of a record see each other, ``none`` leaves the
            model's own.
        rope: whether positions change.
        frames: ``images`` takes each picture for a frame, and each frame of a video; ``video`` the latter only.
        text_temporal: whether text advances the temporal index (``running``) or not (``constant``).
        trained: positions that the model was trained for; beyond them a warning is given, once.

    ValueError for a negative ``gamma``, or where neither mask nor positions would change.
    """
    if gamma < 0:
        raise ValueError(f"tc_llava: gamma is {gamma}; time does not run backwards, give 0 or more")
    if not rope and mask == "none":
        raise ValueError(
            "tc_llava: rope is False and mask 'none', so nothing changes; leave it out, or set one"
        )
    rules = []
    if rope:
        rules.append(temporal_rope(gamma, frames=frames, text_temporal=text_temporal, trained=trained))
    if mask == "frames":
        rules.append(widening("frame_block_causal", _same_frame(frames)))
    elif mask == "visual":
        rules.append(widening("visual_bidirectional", _both_visual))
    return rules[0] if len(rules) == 1 else rules[0] & rules[1]


def temporal_rope(
    gamma: float,
    *,
    frames: Frames = "images",
    text_temporal: TextTemporal = "running",
    trained: int | None = None,
) -> Rule:
    """Positions p = m + γ t. Generated words advance by 1 + γ (by 1 where text does not advance t)."""
    name = f"temporal_rope({gamma:g})"

    def give(layout: Layout, axes: int) -> Tensor:
        if axes != 1:
            raise ValueError(
                f"{name} sets positions of one axis, but this model counts time, height and width apart; "
                "it has time in its positions already: use mask alone (rope=False)"
            )
        found = dual_positions(layout, gamma, frames=frames, text_temporal=text_temporal)
        if trained is not None and found.shape[1] * (1 + gamma) > trained:
            most = float(found[layout.present].max()) if bool(layout.present.any()) else 0.0
            if most >= trained:
                warnings.warn(
                    f"{name} places a token at {most:g}, but the model was trained for positions below {trained}: "
                    "expect worse answers; use fewer or smaller frames, or a smaller gamma",
                    stacklevel=2,
                )
        return found

    step = 1 + gamma if text_temporal == "running" else 1
    return Rule(name, positions=(Positions(name, give, step=step, by_segment=True),))


def dual_positions(
    layout: Layout, gamma: float, *, frames: Frames = "images", text_temporal: TextTemporal = "running"
) -> Float[Tensor, "batch tokens"]:
    """p = m + γ t of each token, each segment from 0; padding has 0."""
    running = segment_positions.give(layout, 1)
    times = temporal_positions(layout, frames=frames, text_temporal=text_temporal)
    return torch.where(layout.present, running + gamma * times, 0.0)


def temporal_positions(
    layout: Layout, *, frames: Frames = "images", text_temporal: TextTemporal = "running"
) -> Int[Tensor, "batch tokens"]:
    """t of each token, each segment from 0."""
    number, present = frame_ids(layout, frames=frames, between=True), layout.present

    def before(values: Tensor) -> Tensor:
        return torch.nn.functional.pad(values, (1, 0), value=-1)[:, :-1]

    begins = present & (layout.segment != before(layout.segment))
    advances = (number >= 0) & ((number != before(number)) | begins)
    if text_temporal == "running":
        advances = advances | (present & (number < 0))
    count = advances.long().cumsum(-1)
    return torch.where(present, count - torch.where(begins, count, 0).cummax(-1).values, 0)


def frame_ids(
    layout: Layout, *, frames: Frames = "images", between: bool = False
) -> Int[Tensor, "batch tokens"]:
    """A number for the frame of each visual token, rising along the row; −1 at text.

    With ``between`` tokens that stand inside a frame without being visual have its number, too. ValueError where the
    layout does not say which picture a token is of, or where frames are not one behind the other.
    """
    number = _numbers(layout, frames)
    falls = (number >= 0) & (number < number.cummax(-1).values)
    if bool(falls.any()):
        row, token = falls.nonzero()[0].tolist()
        raise ValueError(
            f"token {token} of row {row} belongs to an earlier frame than one before it: the tokens of a frame must "
            "stand together, and frames in their order; check item and frame of the layout"
        )
    if not between:
        return number
    earlier, later = filled_forward(number), filled_forward(number.flip(-1)).flip(-1)
    return torch.where((earlier == later) & layout.present, earlier, -1)


def _numbers(layout: Layout, frames: Frames) -> Int[Tensor, "batch tokens"]:
    video = layout.modality == Modality.VIDEO
    framed = layout.visual if frames == "images" else video
    if bool((framed & (layout.item < 0)).any()) or bool((video & (layout.frame < 0)).any()):
        raise ValueError(
            "tc_llava must know which picture or frame each visual token is of, and the placeholders alone do not tell "
            "(pictures side by side, or tiles): give the layout of the batch, layout=…"
        )
    item = layout.segment * (layout.item.max() + 1) + layout.item
    number = item * (layout.frame.max() + 2) + torch.where(video, layout.frame, 0)
    return torch.where(framed, number, -1)


def _same_frame(frames: Frames) -> Callable[[Layout], Pairs]:
    def see(layout: Layout) -> Pairs:
        number = frame_ids(layout, frames=frames)
        return lambda b, h, q, k: (number[b, q] == number[b, k]) & (number[b, q] >= 0)

    return see


def _both_visual(layout: Layout) -> Pairs:
    group = torch.where(layout.visual, layout.segment, -1)
    return lambda b, h, q, k: (group[b, q] == group[b, k]) & (group[b, q] >= 0)

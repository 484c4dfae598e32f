"""The layout of a batch that came without one, told from its placeholders.

What a token is, is certain: placeholders have ids of their own. Which picture it belongs to is certain where the
model's vision arguments and the runs of placeholders agree (as many runs as pictures, or sizes given for each).
Otherwise its ``item`` is −1, and a rule that needs it must refuse: tiles of one picture and pictures side by side look
the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vitrail.models.layout import Layout, Modality, Speaker
from vitrail.models.logits import unwrapped


def derived_layout(model: Any, inputs: Mapping[str, Any]) -> Layout:
    """The layout of ``inputs``, arguments of the model's forward or ``generate`` by name.

    Each row is one segment. Rows and columns are not known, and every token counts as a user's. ValueError where there
    are only ``inputs_embeds`` and the model takes pictures.
    """
    ids, embeddings = inputs.get("input_ids"), inputs.get("inputs_embeds")
    pictures, videos = placeholders(model)
    if ids is None:
        if embeddings is None:
            raise ValueError("give input_ids or inputs_embeds")
        if pictures is not None or videos is not None:
            raise ValueError(
                "inputs_embeds alone do not say which tokens are pictures, and a rule stands in this model that must "
                "know: give the layout of the batch as layout=…, or input_ids"
            )
        ids = torch.full(embeddings.shape[:2], -1, device=embeddings.device)
    mask = inputs.get("attention_mask")
    plain = isinstance(mask, Tensor) and mask.ndim == 2 and mask.shape == ids.shape
    present = mask.bool() if plain else torch.ones_like(ids, dtype=torch.bool)  # type: ignore[union-attr]
    visual = {
        Modality.IMAGE: present & (ids == (pictures if pictures is not None else -2)),
        Modality.VIDEO: present & (ids == (videos if videos is not None else -2)),
    }
    modality = torch.where(present, int(Modality.TEXT), int(Modality.PADDING))
    for kind, where in visual.items():
        modality = torch.where(where, int(kind), modality)
    runs = list(_runs(modality))
    item, frame = torch.full_like(ids, -1), torch.full_like(ids, -1)
    found = [*_pictures(runs, inputs), *_videos(runs, inputs)]
    for row in range(len(ids)):
        number = -1
        for run in sorted(one for one in found if one.row == row):
            number += run.begins
            item[row, run.begin : run.end] = number
            frame[row, run.begin : run.end] = run.frame
    unknown = torch.full_like(ids, -1)
    return Layout(
        segment=present.long() - 1,
        modality=modality,
        item=item,
        frame=frame,
        row=unknown,
        col=unknown,
        speaker=torch.full_like(ids, int(Speaker.USER)),
        weight=torch.zeros(ids.shape, device=ids.device),
        droppable=(modality == Modality.IMAGE) | (modality == Modality.VIDEO),
    )


def placeholders(model: Any) -> tuple[int | None, int | None]:
    """The ids that stand for visual tokens of pictures and of videos; None where the model has none."""
    config = unwrapped(model).config
    found = [getattr(config, name, None) for name in ("image_token_id", "video_token_id")]
    return tuple(one if isinstance(one, int) and one >= 0 else None for one in found)  # type: ignore[return-value]


def has_pictures(model: Any, ids: Tensor | None) -> bool:
    """Whether there are placeholders among ``ids``."""
    return ids is not None and any(
        one is not None and bool((ids == one).any()) for one in placeholders(model)
    )


class _Run(NamedTuple):
    row: int
    begin: int
    end: int
    kind: int
    frame: int = 0
    begins: bool = True
    """Whether an item begins here (its further frames have runs of their own)."""


def _runs(modality: Tensor) -> Iterator[_Run]:
    """Runs of visual tokens of one kind, row by row."""
    for row, line in enumerate(modality.tolist()):
        begin = 0
        while begin < len(line):
            end = begin + 1
            while end < len(line) and line[end] == line[begin]:
                end += 1
            if line[begin] in (Modality.IMAGE, Modality.VIDEO):
                yield _Run(row, begin, end, line[begin])
            begin = end


def _pictures(runs: list[_Run], inputs: Mapping[str, Any]) -> list[_Run]:
    """The runs cut into pictures; none where they cannot be told apart."""
    runs = [run for run in runs if run.kind == Modality.IMAGE]
    grid = inputs.get("image_grid_thw")
    if grid is not None:
        return _cut(runs, grid.prod(-1).tolist())
    count = _length(inputs.get("image_sizes"))
    for name, ndim in (("pixel_values", 4), ("vision_features", 3)):
        given = inputs.get(name)
        if count is None and isinstance(given, Tensor) and given.ndim == ndim:
            count = len(given)
    alone = len({run.row for run in runs}) == len(runs)
    return runs if count == len(runs) or (count is None and alone) else []


def _cut(runs: list[_Run], weights: list[int]) -> list[_Run]:
    """Runs cut into pieces of lengths proportional to ``weights``; none where that does not come out even."""
    total, weight = sum(run.end - run.begin for run in runs), sum(weights)
    if not total or any(one * total % weight for one in weights):
        return []
    lengths, pieces = [one * total // weight for one in weights], []
    for run in runs:
        begin = run.begin
        while begin < run.end and lengths:
            end = begin + lengths.pop(0)
            pieces.append(run._replace(begin=begin, end=end))
            begin = end
        if begin != run.end:
            return []
    return [] if lengths else pieces


def _videos(runs: list[_Run], inputs: Mapping[str, Any]) -> list[_Run]:
    """The runs cut into the frames of videos; none where they cannot be told apart."""
    runs = [run for run in runs if run.kind == Modality.VIDEO]
    grid, pixels = inputs.get("video_grid_thw"), inputs.get("pixel_values_videos")
    if grid is not None:
        frames = grid[:, 0].tolist()
    elif isinstance(pixels, Tensor) and pixels.ndim == 5:
        frames = [pixels.shape[1]] * len(pixels)
    else:
        return []
    if len(runs) == sum(frames):
        numbers = [number for count in frames for number in range(count)]
        return [run._replace(frame=n, begins=n == 0) for run, n in zip(runs, numbers, strict=True)]
    if len(runs) != len(frames):
        return []
    pieces = []
    for run, count in zip(runs, frames, strict=True):
        size, rest = divmod(run.end - run.begin, count)
        if rest > 1 or not size:  # LLaVA-OneVision closes a video with one token for a line break
            return []
        for number in range(count):
            begin = run.begin + number * size
            end = run.end if number == count - 1 else begin + size
            pieces.append(run._replace(begin=begin, end=end, frame=number, begins=number == 0))
    return pieces


def _length(given: Any) -> int | None:
    return None if given is None else len(given)

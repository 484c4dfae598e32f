"""Which visual tokens a rule kept while a prompt was answered, as a person can be shown it: on the pictures.

For a rule that drops tokens between layers (:mod:`vitrail.models.rules.dropping`), such as G-Search's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from vitrail.data.image_plans.plan import ImagePlan, plans_of

if TYPE_CHECKING:
    from vitrail.data.records import Image
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded
    from vitrail.models.rules.call import Call

MOST_CELLS = 8192
"""Cells of all grids together that are told; views beyond are left out, and counted."""


def kept_tokens(bundle: Bundle, prompt: Encoded, call: Call, sent: Sequence[Image]) -> dict[str, Any]:
    """What is left of ``prompt``, whose answer was made while ``call`` held, as plain JSON values.

    ``layers``: how many the decoder has. ``cuts``: of how many visual tokens how many are left from a layer on.
    ``views``: the grids that the pictures among ``sent`` were seen as, with ``rows``, ``cols``, the part of the picture
    that the view shows (``box``: left, top, right, bottom, in fractions) and, cell by cell in reading order, how many
    layers saw it (``seen``; all of them where nothing was dropped, 0 where the cell is none of the prompt's). Tokens
    that stand in no grid are counted in ``cuts`` alone.
    """
    visual = prompt.item >= 0
    chosen = {layer: keep[0].cpu().numpy()[: prompt.length] for layer, keep in sorted(call.chosen.items())}
    layers = call.target.num_layers
    cuts = [
        {"layer": layer, "kept": int((keep & visual).sum()), "of": int(visual.sum())}
        for layer, keep in chosen.items()
    ]
    seen = layers_seen(prompt.length, layers, chosen)
    views, left_out, cells = [], 0, 0
    for item, picture, plan in _pictures(bundle, prompt, sent):
        for frame in range(len(plan.tiles)):
            grid = _grid(prompt, item, frame, seen)
            if grid is None:
                continue
            if (cells := cells + grid.size) > MOST_CELLS:
                left_out += 1
                continue
            views.append(
                {
                    "picture": picture,
                    "box": [round(float(edge), 6) for edge in plan.tiles[frame].box],
                    "rows": grid.shape[0],
                    "cols": grid.shape[1],
                    "seen": grid.ravel().tolist(),
                }
            )
    told: dict[str, Any] = {"layers": layers, "cuts": cuts, "views": views}
    return {**told, "left_out": left_out} if left_out else told


def layers_seen(
    tokens: int, layers: int, chosen: Mapping[int, Bool[np.ndarray, "tokens"]]
) -> Int[np.ndarray, "tokens"]:
    """How many of ``layers`` saw each token, by who was left from a layer on."""
    seen = np.full(tokens, layers)
    for layer, keep in chosen.items():
        seen = np.where(keep, seen, np.minimum(seen, layer))
    return seen


def _pictures(bundle: Bundle, prompt: Encoded, sent: Sequence[Image]) -> list[tuple[int, int, ImagePlan]]:
    """Of the prompt's pictures those that were sent: number in the prompt, number among those sent, plan."""
    planner = bundle.encoder.planner
    if planner is None or not prompt.images:
        return []
    sizes = [
        (one.width, one.height) if one.width and one.height else one.open(prompt.root).size
        for one in prompt.images
    ]
    numbers = {id(one): number for number, one in enumerate(sent)}
    plans = plans_of(planner, sizes)
    return [
        (item, numbers[id(one)], plans[item]) for item, one in enumerate(prompt.images) if id(one) in numbers
    ]


def _grid(
    prompt: Encoded, item: int, frame: int, seen: Int[np.ndarray, "tokens"]
) -> Int[np.ndarray, "rows cols"] | None:
    mine = (prompt.item == item) & (prompt.frame == frame) & (prompt.row >= 0) & (prompt.col >= 0)
    if not mine.any():
        return None
    rows, cols = prompt.row[mine], prompt.col[mine]
    grid = np.zeros((int(rows.max()) + 1, int(cols.max()) + 1), dtype=np.int64)
    grid[rows, cols] = seen[mine]
    return grid

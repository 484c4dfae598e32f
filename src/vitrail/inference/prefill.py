"""Prompts that are forwarded before it is known what follows them: their cache, and tokens behind it.

What was forwarded once is expanded over everything that goes on from it: over the options of a question
(:mod:`vitrail.inference.likelihood`), and over the questions about one picture, whose prompts begin alike
(:mod:`vitrail.inference.picture_prefix`), be they ranked or answered in words (:mod:`vitrail.inference.generation`).
Positions are always given, counted over real tokens alone: padding may stand between a beginning and what follows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.inference import picture_prefix
from vitrail.inference.inputs import forward_parameters, model_inputs, takes_use_cache, text_config
from vitrail.models.caching import LIBRARY_NAME, cache_argument, cache_of
from vitrail.models.encoding import Encoded
from vitrail.models.logits import logits_at, unwrapped

Collator = Callable[[list[Encoded]], dict[str, Any]]


class Sharing(NamedTuple):
    """Whether a model can forward a prompt once for all its options, and why not."""

    possible: bool
    reason: str = ""


def prompt_sharing(model: nn.Module) -> Sharing:
    """Whether the prompt's cache of this model can be expanded over options, by what its code and config say.

    Not so without a cache or explicit positions, with a window or a recurrent state (padding between prompt
    and option would enter it), or with a mask that depends on token types.
    """
    parameters, inner = forward_parameters(model), unwrapped(model)
    if any(getattr(module, "_is_stateful", False) for module in inner.modules()):
        return Sharing(False, "it keeps a recurrent state, which padding would enter")
    if cache_argument(model) is None:
        return Sharing(False, "its forward takes no cache of keys and values")
    for name in ("position_ids", "use_cache"):
        if name not in parameters and not (name == "use_cache" and takes_use_cache(model)):
            return Sharing(False, f"its forward takes no {name!r}")
    if "token_type_ids" in parameters:
        return Sharing(False, "its attention mask depends on token types")
    text = text_config(inner)
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds - {"full_attention"}:
        return Sharing(False, f"it has layers of type {', '.join(sorted(kinds - {'full_attention'}))}")
    windowed = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    if windowed and not kinds:
        return Sharing(False, "its attention has a sliding window")
    return Sharing(True)


class Begun(NamedTuple):
    """Prompts that were forwarded: the logits behind each, the cache of all, their tokens and mask, and each one's next
    position.
    """

    logits: Float[Tensor, "batch vocab"]
    cache: Any
    ids: Int[Tensor, "batch tokens"]
    mask: Int[Tensor, "batch tokens"]
    following: Int[Tensor, "batch"]


def begin(
    model: nn.Module,
    collator: Collator,
    prompts: list[Encoded],
    caching: bool,
) -> Begun:
    """Forward prompts, one a row, padded as the collator pads; with ``caching`` their cache is kept."""
    inputs = model_inputs(model, collator(prompts))
    mask = inputs["attention_mask"]
    positions, following = _positions(model, inputs)
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(-1)
    keep = torch.zeros_like(mask, dtype=torch.bool)
    keep[torch.arange(len(prompts), device=mask.device), last] = True
    output = logits_at(model, keep, **{**inputs, "position_ids": positions}, use_cache=caching)
    return Begun(output.logits, cache_of(output) if caching else None, inputs["input_ids"], mask, following)


def beginnings(model: nn.Module, collator: Collator, groups: Sequence[Sequence[Encoded]]) -> Begun:
    """The common beginning of each group of prompts, one a row."""
    return begin(model, collator, [picture_prefix.beginning(group) for group in groups], True)


def behind_pictures(model: nn.Module, collator: Collator, groups: Sequence[Sequence[Encoded]]) -> Begun:
    """Prompts in groups that begin alike: the beginning of each group once, then all that follows, one prompt a row."""
    rows, tails = picture_prefix.tails(groups)
    return append(model, beginnings(model, collator, groups), rows, tails, last_only=True)


def inputs_behind_pictures(
    model: nn.Module, collator: Collator, groups: Sequence[Sequence[Encoded]]
) -> dict[str, Any]:
    """Arguments of ``generate`` for prompts in groups that begin alike, one prompt a row: the beginnings are in the
    cache, and what follows them is padded on the left.
    """
    begun = beginnings(model, collator, groups)
    given, tails = picture_prefix.tails(groups)
    device, longest = begun.mask.device, max(map(len, tails))
    rows = torch.tensor(given, device=device)
    begun.cache.reorder_cache(rows)
    # Padded with a token of the prompt itself, which a penalty on repetition has seen anyway.
    padded = torch.tensor([[*tail[:1] * (longest - len(tail)), *tail] for tail in tails], device=device)
    steps = torch.arange(longest, device=device) - torch.tensor(
        [longest - len(tail) for tail in tails], device=device
    ).unsqueeze(-1)
    width = begun.mask.shape[1]
    behind = begun.following[rows][:, None] + steps.clamp(min=0)
    positions = torch.nn.functional.pad(behind, (width, 0))  # those of the beginning are in its keys
    return {
        "input_ids": torch.cat([begun.ids[rows], padded], dim=1),
        "attention_mask": torch.cat([begun.mask[rows], (steps >= 0).to(begun.mask.dtype)], dim=1),
        "position_ids": positions.expand(3, -1, -1) if _three_axes(model) else positions,
        LIBRARY_NAME: begun.cache,
    }


def append(
    model: nn.Module,
    begun: Begun,
    rows: Sequence[int],
    tails: Sequence[Sequence[int]],
    last_only: bool = False,
) -> Begun:
    """Forward ``tails``, tokens behind the ``rows`` that they name, whose cache is expanded over them (and changed).

    ``logits`` are those behind each token, row by row; with ``last_only`` behind the last token of each row.
    """
    device = begun.mask.device
    places = torch.tensor(rows, device=device)
    begun.cache.reorder_cache(places)
    lengths = torch.tensor([len(tail) for tail in tails], device=device)
    longest = int(lengths.max())
    # Padded with a token of the text itself: a fixed padding id might be the picture placeholder.
    ids = torch.tensor([[*tail, *[tail[0]] * (longest - len(tail))] for tail in tails], device=device)
    steps = torch.arange(longest, device=device)
    present = steps < lengths[:, None]
    positions = begun.following[places][:, None] + steps
    mask = torch.cat([begun.mask[places], present.to(begun.mask.dtype)], dim=1)
    output = logits_at(
        model,
        steps == lengths[:, None] - 1 if last_only else present,
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions.expand(3, -1, -1) if _three_axes(model) else positions,
        use_cache=True,
        **{cache_argument(model) or LIBRARY_NAME: begun.cache},
    )
    return Begun(
        output.logits,
        cache_of(output),
        torch.cat([begun.ids[places], ids], dim=1),
        mask,
        begun.following[places] + lengths,
    )


def _three_axes(model: nn.Module) -> bool:
    """Whether positions are (time, height, width), as in Qwen-VL's families."""
    return hasattr(getattr(unwrapped(model), "model", None), "get_rope_index")


def _positions(model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Int[Tensor, "batch"]]:
    """Positions of a padded batch, counted over real tokens, and that of each row's next token."""
    mask = inputs["attention_mask"]
    if not _three_axes(model):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return positions, positions.amax(-1) + 1
    if "image_grid_thw" not in inputs and "video_grid_thw" not in inputs:
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return positions.expand(3, -1, -1), positions.amax(-1) + 1
    rule: Any = unwrapped(model).model.get_rope_index  # type: ignore[union-attr]
    accepted = inspect.signature(rule).parameters
    positions, _ = rule(**{name: value for name, value in inputs.items() if name in accepted})
    return positions, positions.masked_fill(mask == 0, 0).amax(dim=(0, 2)) + 1

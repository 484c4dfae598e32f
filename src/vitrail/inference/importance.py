"""Where in a picture a model looks for an answer: three maps from its own state (ViCrop, arXiv 2502.17422).

With A_st the attention from the last prompt token to the T tokens of a picture, and A_ti the attention of a connector
from those to the N × N places of the picture (identity where a token is a place)::

    answer to image   A_si = mean over heads of A_st @ mean over heads of A_ti
    relative          A_si(question) / A_si(general request)
    gradient          mean over heads of A · relu(∂v/∂A),   v = log p(likeliest next token)
    pure gradient     ‖∂v/∂pixel‖₂(question) / the same (general request), at edges of the picture only

The model's weights and their gradients are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor, nn

from vitrail.inference.inputs import evaluating, forward_parameters
from vitrail.models.capture import attention_in_graph, attention_rows
from vitrail.models.rules.target import Target

Map = Float[np.ndarray, "rows cols"]
Layer = int | Literal["mean"] | None


@dataclass(frozen=True)
class ImageSpan:
    """The tokens of one view of a picture: their places in the prompt, in raster order, and the grid they form.

    ValueError unless there are ``rows · cols`` of them (a connector with attention of its own may have fewer:
    ``checked`` False).
    """

    places: np.ndarray
    rows: int
    cols: int
    checked: bool = True

    def __post_init__(self) -> None:
        if not len(self.places):
            raise ValueError("the prompt has no token of the picture, so no place to look at")
        if self.checked and len(self.places) != self.rows * self.cols:
            raise ValueError(
                f"the picture has {len(self.places)} tokens, which are no grid of {self.rows} × {self.cols}"
            )


def layers_of(model: nn.Module, layer: Layer) -> tuple[int, ...]:
    """``None``: the one at 0.45 of the depth (14 of 32); ``"mean"``: all but the last; a number: that one.

    Layers with a sliding window, which may not reach the picture, are taken by number only.
    """
    if isinstance(layer, int):
        return (layer,)
    target = Target.of(model)
    depth = target.num_layers
    whole = [one for one in range(depth) if one not in target.windowed] or list(range(depth))
    if layer == "mean":
        return tuple(whole[:-1] or whole)
    middle = int(0.45 * depth)
    return (min(whole, key=lambda one: (abs(one - middle), one)),)


def answer_to_image_attention(
    model: nn.Module,
    inputs: Mapping[str, Any],
    span: ImageSpan,
    layer: Layer = None,
    connector_attention: Float[Tensor, "heads queries places"] | None = None,
) -> Map:
    """How much the last token of a prompt attends to each place of a picture; see the module.

    ``inputs``: arguments of the model for one prompt without padding. ValueError for more than one prompt, a layer that
    is not there, or a model that shows no attention.
    """
    _require_one(inputs)
    with evaluating(model), attention_rows(model, layers_of(model, layer)) as found:
        model(**{**inputs, **_last_logits(model)})
    maps = [_on_grid(one[0, :, 0].mean(0), span, connector_attention) for one in _read(model, layer, found)]
    return np.mean(maps, axis=0)


def gradient_attention(
    model: nn.Module,
    inputs: Mapping[str, Any],
    span: ImageSpan,
    layer: Layer = None,
    connector_attention: Float[Tensor, "heads queries places"] | None = None,
) -> Map:
    """Attention of the last token times the positive part of its derivative, averaged over heads; never negative.

    Needs one backward from the last layer down to ``layer``. ``connector_attention``: already weighed by its own
    derivative. ValueError as :func:`answer_to_image_attention`.
    """
    _require_one(inputs)
    with _with_gradients(model), attention_in_graph(model, layers_of(model, layer)) as found:
        value = _answer(model(**{**inputs, **_last_logits(model)}))
        weights = _read(model, layer, found)
        gradients = torch.autograd.grad(value, weights)
    maps = []
    for one, gradient in zip(weights, gradients, strict=True):
        weighed = (one[0, :, -1] * gradient[0, :, -1].relu()).detach().float().mean(0)
        maps.append(_on_grid(weighed, span, connector_attention))
    return np.mean(maps, axis=0)


def pixel_gradient(
    model: nn.Module, inputs: Mapping[str, Any], frame: int = 0
) -> Float[np.ndarray, "high wide"]:
    """‖∂v/∂pixel‖₂ over the colours of one view (``frame``, among all of the prompt) as the model sees it.

    ValueError for a model that is not fed pixels.
    """
    _require_one(inputs)
    pixels = inputs.get("pixel_values")
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point():
        raise ValueError(
            "a gradient of pixels needs a model that is fed pixel_values; use relative or gradient"
        )
    with _with_gradients(model):
        leaf = pixels.detach().clone().requires_grad_(True)
        value = _answer(model(**{**inputs, "pixel_values": leaf, **_last_logits(model)}))
        (gradient,) = torch.autograd.grad(value, leaf)
    return _view(model, inputs, gradient.float(), frame)


def relative(asked: np.ndarray, general: np.ndarray) -> np.ndarray:
    """``asked / general``, cell by cell; cells where both are zero are 1, and a zero denominator is the smallest other.

    ValueError where all denominators are zero, or a value is not finite.
    """
    if not (np.isfinite(asked).all() and np.isfinite(general).all()):
        raise ValueError("a map holds values that are not finite; load the model in float32 or bfloat16")
    if not (general > 0).any():
        raise ValueError(
            "the map of the general request is zero everywhere, so nothing can be relative to it"
        )
    least = general[general > 0].min()
    return np.where((asked == 0) & (general == 0), 1.0, asked / np.where(general > 0, general, least))


def pooled(values: Float[np.ndarray, "high wide"], rows: int, cols: int) -> Map:
    """The mean over each of ``rows × cols`` blocks of pixels."""
    tall = np.stack([part.mean(0) for part in np.array_split(values, rows, axis=0)])
    return np.stack([part.mean(1) for part in np.array_split(tall, cols, axis=1)], axis=1)


def edges(picture: PILImage.Image, high: int, wide: int) -> np.ndarray:
    """True at the pixels of a picture, resized to ``high × wide``, whose fine structure is above the median.

    The picture less its 3 × 3 Gaussian blur, its length over colours, a 7 × 7 median of that.
    """
    from scipy import ndimage

    values = np.asarray(picture.convert("RGB").resize((wide, high)), dtype=np.float64) / 255
    blurred = ndimage.gaussian_filter(values, sigma=(0.8, 0.8, 0), radius=(1, 1, 0))
    strength = ndimage.median_filter(np.sqrt(((values - blurred) ** 2).sum(-1)), size=7)
    return strength > np.median(strength)


def _read(model: nn.Module, layer: Layer, found: Mapping[int, Tensor]) -> list[Tensor]:
    wanted = layers_of(model, layer)
    missed = [one for one in wanted if one not in found]
    if missed:
        raise ValueError(
            f"layer {missed[0]} of {Target.of(model).name} gives no attention: it does not attend through "
            "transformers' attention interface"
        )
    return [found[one] for one in wanted]


def _on_grid(values: Tensor, span: ImageSpan, connector: Tensor | None) -> Map:
    tokens = values[torch.as_tensor(span.places, device=values.device)].float()
    if connector is not None:
        if connector.shape[-2] != len(tokens) or connector.shape[-1] != span.rows * span.cols:
            raise ValueError(
                f"connector_attention is {tuple(connector.shape)}; give (heads, {len(tokens)}, {span.rows * span.cols})"
            )
        tokens = tokens @ connector.float().mean(0)
    return tokens.cpu().numpy().astype(np.float64).reshape(span.rows, span.cols)


def _require_one(inputs: Mapping[str, Any]) -> None:
    mask = inputs.get("attention_mask")
    rows = len(inputs["input_ids"])
    if rows != 1 or (mask is not None and not bool(mask.bool().all())):
        raise ValueError(
            f"maps are read for one prompt without padding; this batch has {rows} rows, or padding"
        )


def _last_logits(model: nn.Module) -> dict[str, Any]:
    few = {"logits_to_keep": 1} if "logits_to_keep" in forward_parameters(model) else {}
    return {"use_cache": False, **few}


def _answer(output: Any) -> Tensor:
    """v: the log-probability of the likeliest next token."""
    return output.logits[0, -1].float().log_softmax(-1).max()


@contextmanager
def _with_gradients(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with a graph; every module's own mode is put back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _view(model: Any, inputs: Mapping[str, Any], gradient: Tensor, frame: int) -> np.ndarray:
    grids = inputs.get("image_grid_thw")
    if grids is None:  # pictures, with or without a dimension for records and tiles
        views = gradient.reshape(-1, *gradient.shape[-3:])
        return views[frame].norm(dim=0).cpu().numpy()
    vision = model.config.vision_config
    before = sum(int(one.prod()) for one in grids[:frame])
    t, high, wide = (int(one) for one in grids[frame])
    merge, patch = vision.spatial_merge_size, vision.patch_size
    patches = gradient[before : before + t * high * wide].reshape(
        t, high // merge, wide // merge, merge, merge, -1, patch, patch
    )
    norms = patches.pow(2).sum(dim=(0, 5)).sqrt()  # down, across, merge, merge, patch, patch
    return norms.permute(0, 2, 4, 1, 3, 5).reshape(high * patch, wide * patch).cpu().numpy()

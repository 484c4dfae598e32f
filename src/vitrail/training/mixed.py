"""Batches without pictures reach every part of a model, with weight zero.

Text-only records, one picture, several: in whichever order they come, each forward of each process runs the same parts.
Otherwise the parts that see pictures get no gradient where a batch has none: data parallelism then waits for a
reduction, or sharded training for a gathering of weights, that this process never joins.

So on a batch without pictures the tower and the connector run on one small picture, and zero times the mean of its
visual tokens is added to the word embeddings. This happens where a picture's own tokens would be made, between the word
embeddings and the first layer, so that sharded weights are asked for in the same order on every process. Losses and
gradients stay, to the bit: parameters that would have had no gradient have one of zeros.

An optimiser does tell zeros from no gradient: weight decay and momentum go on. That is what a large batch does that
holds one text more, and what several processes do of which one has a picture, so it is done on a single process too:
the trajectory does not depend on how a step is divided.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitrail.data.records import Image
from vitrail.models.batches import Collator
from vitrail.models.encoding import Encoded
from vitrail.models.layout import Modality, Speaker
from vitrail.models.logits import unwrapped
from vitrail.objectives.objective import Batch

Pictures = Mapping[str, Tensor]
"""Arguments of a model's ``get_image_features``."""

_WITH_PICTURES = ("pixel_values", "pixel_values_videos", "vision_features", "mm_encoder_outputs")
_NOT_MERGED = ("last_hidden_state", "hidden_states", "attentions")
# Which of these a family makes least of depends on its plan: some enlarge, some cut into tiles.
_SIZES = ((32, 32), (16, 128))


@contextmanager
def every_part(model: nn.Module, batch: Batch, example: Callable[[], Pictures]) -> Iterator[None]:
    """Inside, ``model`` on a ``batch`` without pictures also runs the parts that see pictures.

    ``example`` gives the arguments of ``get_image_features`` for one picture; it is asked only where it is needed:
    not for batches with pictures, models without a tower, nor parts that are frozen and whole on each process.
    ValueError if it gives none where weights are sharded, since training would hang.
    """
    if any(batch.get(name) is not None for name in _WITH_PICTURES):
        yield
        return
    inner: Any = unwrapped(model)
    parameters = _seeing(inner)
    sharded = any(hasattr(parameter, "placements") for parameter in parameters)
    trains = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters)
    if not (sharded or trains):
        yield
        return
    pictures = example()
    if not pictures:
        if sharded:
            raise ValueError(
                "the batch has no pictures, the parts that see them are sharded, and no example of a picture can be "
                "made; give train_stage a vitrail.models.batches.Collator"
            )
        yield
        return
    handle = inner.get_input_embeddings().register_forward_hook(
        lambda _, __, embeddings: embeddings + _weightless(inner, pictures, embeddings)
    )
    try:
        yield
    finally:
        handle.remove()


def example_of(collator: Any) -> Pictures:
    """One small picture as ``collator`` hands it to the model; empty where the collator is not ours or takes none.

    Of a few sizes that the model can see, the one that is cheapest.
    """
    if not isinstance(collator, Collator):
        return {}
    found = []
    for size in _SIZES:
        try:
            batch = collator([_record(size)])
        except ValueError:
            continue  # this model refuses a picture of such a size
        found.append({name: value for name, value in batch.items() if name not in _OF_TEXT})
    return min(found, key=_elements, default={})


_OF_TEXT = ("input_ids", "attention_mask", "labels", "layout")


def _elements(pictures: Mapping[str, Any]) -> int:
    return sum(value.numel() for value in pictures.values() if isinstance(value, Tensor))


def _record(size: tuple[int, int]) -> Encoded:
    """A record of one token that learns nothing, and a picture of ``size``."""
    from PIL import Image as PILImage

    width, height = size
    # No uniform picture: some families take one for padding.
    pixels = np.arange(width * height * 3, dtype=np.int64).reshape(height, width, 3) * 37 % 256
    buffer = io.BytesIO()
    PILImage.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    ints = {"input_ids": 0, "labels": -100, "modality": Modality.TEXT, "speaker": Speaker.TEMPLATE}
    ints |= dict.fromkeys(("item", "frame", "row", "col"), -1)
    columns: dict[str, Any] = {name: np.array([value], dtype=np.int64) for name, value in ints.items()}
    image = Image(bytes=buffer.getvalue(), width=width, height=height)
    return Encoded(**columns, weight=np.zeros(1, dtype=np.float32), images=(image,))


def _seeing(inner: Any) -> list[nn.Parameter]:
    """Parameters of the parts that see pictures: all but the language model's."""
    if not (hasattr(inner, "get_image_features") and hasattr(inner, "get_decoder")):
        return []
    language = (inner.get_decoder(), inner.get_input_embeddings(), inner.get_output_embeddings())
    known = {id(parameter) for part in language if part is not None for parameter in part.parameters()}
    return [parameter for parameter in inner.parameters() if id(parameter) not in known]


def _weightless(inner: Any, pictures: Pictures, embeddings: Tensor) -> Tensor:
    """Zero, with a gradient of zeros for every parameter that ``pictures`` go through."""
    named = inspect.signature(inner.get_image_features).parameters
    given = {name: value.to(embeddings.device) for name, value in pictures.items() if name in named}
    with _still(inner):
        output = inner.get_image_features(**given)
    zero = embeddings.new_zeros(())
    for tokens in _merged(output):
        zero = zero + (0.0 * tokens.float().mean()).to(embeddings.dtype)
    return zero


@contextmanager
def _still(inner: Any) -> Iterator[None]:
    """No dropout is drawn and no running statistic moves: the trajectory must not know of the example."""
    language = set(inner.get_decoder().modules())
    training = [module for module in inner.modules() if module.training and module not in language]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _merged(output: Any) -> list[Tensor]:
    """The tensors of an output that end up in the language model: visual tokens, and what goes into deeper layers."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        # Older releases give Idefics3 an output without this field, and set it all the same.
        named = {**output, "pooler_output": getattr(output, "pooler_output", None)}
        output = [value for name, value in named.items() if name not in _NOT_MERGED]
    return [tensor for value in output or () for tensor in _merged(value)]

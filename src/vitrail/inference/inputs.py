"""What every way of asking a model shares: its inputs, and the state it is asked in."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from vitrail.data.records import Document, Text
from vitrail.models.encoding import Encoded
from vitrail.models.layout import Modality, Speaker
from vitrail.models.logits import unwrapped

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

_APPENDED = {
    "labels": -100,
    "weight": 0.0,
    "modality": int(Modality.TEXT),
    "item": -1,
    "frame": -1,
    "row": -1,
    "col": -1,
    "speaker": int(Speaker.ASSISTANT),
}


def model_inputs(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A collated batch as arguments of ``model``, on its device.

    Labels stay behind: nothing is learnt here. So does ``layout`` where the model's ``forward`` does not name
    it (transformers' own models refuse it).
    """
    device = next(model.parameters()).device
    takes_layout = "layout" in forward_parameters(model)
    return {
        name: value.to(device) if hasattr(value, "to") else value
        for name, value in batch.items()
        if name != "labels" and (takes_layout or name != "layout")
    }


def forward_parameters(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    """The parameters of ``forward``, of the model inside wrappers."""
    return inspect.signature(unwrapped(model).forward).parameters


def takes_use_cache(model: nn.Module) -> bool:
    """Whether ``forward`` takes ``use_cache``, by name or among further keywords for its language model."""
    parameters = forward_parameters(model)
    further = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    return "use_cache" in parameters or further


def extended(prompt: Encoded, ids: Sequence[int]) -> Encoded:
    """``prompt`` with the beginning of the assistant's answer behind it: tokens ``ids``, plain text, not
    learnt.
    """
    columns = {"input_ids": np.concatenate([prompt.input_ids, np.asarray(ids, dtype=prompt.input_ids.dtype)])}
    for name, fill in _APPENDED.items():
        column = getattr(prompt, name)
        columns[name] = np.concatenate([column, np.full(len(ids), fill, dtype=column.dtype)])
    return dataclasses.replace(prompt, **columns)  # type: ignore[arg-type]


def continuing(bundle: Bundle, text: str | Sequence[int]) -> Encoded:
    """A text, or tokens, to go on with: as the tokenizer reads it (its begin token in front, where it has one).

    Nothing in it is special.
    """
    begin = bundle.encoder.encode(Document(content=(Text(text="."),)), add_generation_prompt=True)
    ids = text
    if isinstance(text, str):
        ids = bundle.tokenizer(text, split_special_tokens=True)["input_ids"] or begin.input_ids.tolist()
    first = dataclasses.replace(begin, input_ids=np.asarray(ids[:1], dtype=begin.input_ids.dtype))
    return extended(first, [int(token) for token in ids[1:]])


def context_length(model: nn.Module) -> int | None:
    """The most tokens that the language model has positions for; None where its config does not say."""
    length = getattr(text_config(model), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def text_config(model: nn.Module) -> Any:
    """The configuration of the language model; None for a model without one."""
    config: Any = getattr(unwrapped(model), "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; every module's own mode is put back afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True

"""Logits only where they are needed.

The head over a large vocabulary is a good part of a small model's work. Newer transformers accept a boolean
``(batch, tokens)`` mask as ``logits_to_keep``; older ones do not, so there the hidden states are selected in front of
the head by a hook that lives for one call. Either way the model's own forward runs, with whatever it does to its
logits, and so do wrappers that synchronise gradients.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
import transformers.modeling_utils
from jaxtyping import Bool
from torch import Tensor, nn

_NATIVE = hasattr(transformers.modeling_utils, "slice_logits_to_keep")


def logits_at(model: nn.Module, keep: Bool[Tensor, "batch tokens"], **inputs: Any) -> Any:
    """Run ``model(**inputs)`` with logits only at ``keep``: the output's ``logits`` are ``(kept, vocab)``, row by row.

    ``model`` is a causal or multimodal language model of transformers, a masked encoder with its head, ours, or a
    wrapper (PEFT, DDP) of one.
    """
    inner: Any = unwrapped(model)
    kind: Any = type(inner)
    if kind.__module__.startswith("vitrail.") or (_NATIVE and _takes(kind, "logits_to_keep")):
        return model(logits_to_keep=keep, **inputs)
    head = inner.get_output_embeddings()  # also of masked encoders, whose forward knows no such argument
    handle = head.register_forward_pre_hook(lambda _, arguments: (arguments[0][keep], *arguments[1:]))
    try:
        return model(**inputs)
    finally:
        handle.remove()


@cache
def _takes(kind: Any, argument: str) -> bool:
    return argument in inspect.signature(kind.forward).parameters


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers of data parallelism and PEFT."""
    inner: Any = model
    while isinstance(getattr(inner, "module", None), nn.Module):
        inner = inner.module
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def shifted(labels: Tensor) -> tuple[Bool[Tensor, "batch tokens"], Tensor]:
    """Which positions predict a label, and the labels they predict, in the order :func:`logits_at` returns them.

    ``labels`` ``(batch, tokens)`` with −100 where nothing is to be learnt; position t predicts label t+1.
    """
    wanted = labels[:, 1:] != -100
    return torch.nn.functional.pad(wanted, (0, 1)), labels[:, 1:][wanted]

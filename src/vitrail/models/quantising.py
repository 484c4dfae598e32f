"""Linear layers whose weights are kept in four or eight bits, frozen, under adapters that train.

As QLoRA has it (Dettmers et al. 2023, arXiv 2305.14314): weights in blocks of 64, each value the nearest of 16 levels
of a normal distribution (``nf4``) or of a small float (``fp4``), the blocks' scales quantised once more (``double``);
or LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339), whose outlying columns are multiplied in 16 bits. bitsandbytes
does both, on accelerators and on CPUs. A quantised model is for training alone: what the adapters learnt is folded into
the weights as they were before, and saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

BLOCK = 64
"""Weights that share a scale, in four bits."""
INSTALL = "pip install 'vitrail[quantised]'"


def bitsandbytes(needed_by: str) -> Any:
    """The library. ImportError that says who needs it, and the extra that brings it."""
    try:
        import bitsandbytes as found
    except ImportError:
        raise ImportError(f"{needed_by} needs bitsandbytes: {INSTALL}") from None
    return found


def bytes_a_weight(bits: int, double: bool = True) -> float:
    """What a weight takes with its share of the scales; those of rows, in eight bits, are left out."""
    return 1.0 if bits == 8 else 0.5 + ((1 + 4 / 256) if double else 4) / BLOCK


def quantise(
    model: nn.Module,
    layers: Sequence[str],
    *,
    bits: Literal[4, 8] = 4,
    kind: Literal["nf4", "fp4"] = "nf4",
    double: bool = True,
    compute: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> int:
    """Quantise the linear ``layers`` of ``model`` (by path), in place and on ``device``; returns the bytes saved.

    ``compute``: what matrices are multiplied in (default: the input's type). ImportError without bitsandbytes.
    ValueError for a layer whose rows are no whole blocks, in four bits on a CPU: its kernels would read wrong scales.
    """
    library = bitsandbytes("model.quantization")
    saved = 0
    for name in layers if bits == 4 and torch.device(device).type == "cpu" else ():
        inputs: Any = model.get_submodule(name).in_features
        if inputs % BLOCK:
            raise ValueError(
                f"model.quantization: {name} takes {inputs} inputs, and four bits on a CPU want whole blocks of "
                f"{BLOCK}; use bits: 8, or an accelerator"
            )
    for name in layers:
        layer: Any = model.get_submodule(name)
        options = {"bias": layer.bias is not None}
        if bits == 4:
            new = library.nn.Linear4bit(
                layer.in_features,
                layer.out_features,
                compute_dtype=compute,
                compress_statistics=double,
                quant_type=kind,
                **options,
            )
            weight = library.nn.Params4bit(
                layer.weight.data, requires_grad=False, compress_statistics=double, quant_type=kind
            )
        else:
            new = library.nn.Linear8bitLt(
                layer.in_features, layer.out_features, has_fp16_weights=False, threshold=6.0, **options
            )
            weight = library.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
        before = layer.weight.nbytes
        new.weight = weight
        new.bias = layer.bias
        new = new.to(device).requires_grad_(False).train(layer.training)
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, new)
        saved += before - new.weight.nbytes
    return saved


@torch.no_grad()
def copy_unquantised(source: nn.Module, into: nn.Module) -> None:
    """Copy every parameter that is not quantised, and every buffer both have, to the model ``into`` of equal anatomy.

    ValueError if a parameter of ``source`` that is not quantised has no place there.
    """
    there = {**dict(into.named_parameters()), **dict(into.named_buffers())}
    for name, value in [*source.named_parameters(), *source.named_buffers()]:
        place = there.get(name)
        if not value.is_floating_point():
            continue
        if place is None or place.shape != value.shape:
            if isinstance(value, nn.Parameter):
                raise ValueError(f"the model as it was before it was quantised has no parameter {name}")
            continue
        place.copy_(value)

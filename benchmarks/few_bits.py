"""Bytes of quantised weights and of 8-bit optimiser states, by those of float32. Prints JSON; needs bitsandbytes.

    python benchmarks/few_bits.py [--width 576] [--layers 2]

A decoder of the width of SmolLM2-135M (random weights) is quantised as ``model.quantization`` does it, and one step of
AdamW is made with states of 8 and of 32 bits on all its linear weights. Nothing is timed. ``weights``: bytes of the
linear weights with their scales; ``error``: of a product, relative; ``states``: bytes of the tensors of the optimiser.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from vitrail.models.quantising import bitsandbytes, quantise
from vitrail.recipes.adapters import linear_layers


def decoder(width: int, layers: int) -> nn.Module:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": width,
        "intermediate_size": 8 * width // 3 // 64 * 64,
        "num_hidden_layers": layers,
    }
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": width // 64}
    return LlamaForCausalLM(LlamaConfig(vocab_size=512, **sizes, **heads))


def held(layer: Any) -> int:
    """Bytes of a layer's weight and of its scales."""
    state = {name: value for name, value in layer.state_dict().items() if name != "bias"}
    return sum(value.nbytes for value in state.values() if isinstance(value, Tensor))


def of_weights(width: int, layers: int, **settings: Any) -> dict[str, float]:
    model = decoder(width, layers)
    names = linear_layers(model, ("language",), "where")
    before = sum(held(model.get_submodule(name)) for name in names)
    x = torch.randn(16, width)
    product = model.get_submodule(names[0])(x).detach()
    quantise(model, names, **settings)
    after = sum(held(model.get_submodule(name)) for name in names)
    error = (model.get_submodule(names[0])(x).detach() - product).norm() / product.norm()
    return {"weights": round(after / before, 4), "error": round(float(error), 4)}


def of_states(width: int, layers: int) -> float:
    library, found = bitsandbytes("this benchmark"), []
    for kind in (library.optim.AdamW8bit, library.optim.AdamW32bit):
        model = decoder(width, layers)
        weights = [model.get_submodule(name).weight for name in linear_layers(model, ("language",), "where")]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer = kind(weights)
        optimizer.step()
        states = [value for own in optimizer.state.values() for value in own.values()]
        found.append(
            sum(value.nbytes for value in states if isinstance(value, Tensor) and value.numel() > 256)
        )
    return round(found[0] / found[1], 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--layers", type=int, default=2)
    chosen = vars(parser.parse_args())
    ways: dict[str, dict[str, Any]] = {
        "nf4, scales in 8 bits": {"bits": 4},
        "nf4": {"bits": 4, "double": False},
        "8 bits": {"bits": 8},
    }
    found: dict[str, Any] = {name: of_weights(**chosen, **settings) for name, settings in ways.items()}
    print(json.dumps({**found, "states": of_states(**chosen)}, indent=2))


if __name__ == "__main__":
    main()

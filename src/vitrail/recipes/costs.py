"""What a stage costs, from shapes alone: floating point operations and memory of one step.

The language model's forward and backward run on the meta device, where no number is computed: torch's own
counter sees every matrix product, and hooks on saved tensors see what backward keeps. What trains is as it
will be, so a frozen language model pays for gradients of its inputs but not of its weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class StepCost:
    """One step: floating point operations (a multiply-add is two), and bytes that backward keeps."""

    flops: float
    activation_bytes: float

    def __add__(self, other: StepCost) -> StepCost:
        # The parts are alive at the same time, so their activations add up.
        return StepCost(self.flops + other.flops, self.activation_bytes + other.activation_bytes)

    def __mul__(self, times: float) -> StepCost:
        """The same step over ``times`` micro-batches: operations add up, memory does not."""
        return StepCost(self.flops * times, self.activation_bytes)


def language_cost(
    model: Any, batch: int, tokens: int, labelled: int, inputs_need_gradients: bool
) -> StepCost:
    """Forward and backward of the language model on the meta device, logits only at ``labelled`` tokens.

    ``model`` is on the meta device with ``requires_grad`` set as in the stage. Without anything to train it
    is a forward alone.
    """
    hidden = model.config.get_text_config().hidden_size
    with torch.device("meta"):
        embeds = torch.empty(batch, tokens, hidden, requires_grad=inputs_need_gradients)
        # A ready four-dimensional mask: building one would look at values, and there are none.
        mask = torch.ones(batch, 1, tokens, tokens, dtype=torch.bool)
        positions = torch.empty(batch, tokens, dtype=torch.long)

    def forward() -> torch.Tensor:
        states = model.get_decoder()(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        return model.get_output_embeddings()(states.reshape(-1, hidden)[: max(labelled, 1)])

    return _measure(model, forward)


def connector_cost(connector: nn.Module, grid: tuple[int, int], width: int, pictures: int) -> StepCost:
    """Forward and backward of a connector (small: on the CPU, with real zeros) for ``pictures`` pictures."""
    from vitrail.models.features import Features

    if pictures == 0:
        return StepCost(0, 0)
    rows, cols = grid
    features = Features.from_grid(torch.zeros(1, rows * cols, width), rows, cols)
    return _scaled(_measure(connector, lambda: connector(features)[0]), pictures)


def tower_flops(tower: Any, image_size: tuple[int, int]) -> float:
    """Operations of a tower's forward for one picture of (width, height), on the meta device."""
    pixels = torch.empty(1, 3, image_size[1], image_size[0], device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tower(pixels)
    return float(counter.get_total_flops())


def tower_cost(tower: Any, image_size: tuple[int, int], pictures: int) -> StepCost:
    """Forward and backward of a tower that trains, on the meta device."""
    pixels = torch.empty(1, 3, image_size[1], image_size[0], device="meta")
    return _scaled(_measure(tower, lambda: tower(pixels).tokens), pictures)


def _scaled(cost: StepCost, times: int) -> StepCost:
    return StepCost(cost.flops * times, cost.activation_bytes * times)


def _measure(module: nn.Module, forward: Any) -> StepCost:
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that its address is not used again
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter, hooks:
        output = forward()
        if output.requires_grad:
            output.sum().backward()
    for parameter in module.parameters():
        parameter.grad = None
    kept_bytes = sum(storage.nbytes() for storage in kept.values())
    return StepCost(float(counter.get_total_flops()), float(kept_bytes))


def matmul_rate(width: int = 576, inner: int = 1536, rows: int = 512, seconds: float = 0.5) -> float:
    """Floating point operations a second of a matrix product of this shape, float32, best of several, now."""
    left, right = torch.randn(rows, width), torch.randn(width, inner)
    left @ right
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begin)
    return 2.0 * rows * width * inner / best

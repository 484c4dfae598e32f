"""What a stage costs, from shapes alone: floating point operations and memory of one step.

Operations: the language model's forward and backward run on the meta device, where no number is computed, and torch's
own counter sees every matrix product. What trains is as it will be, so a frozen language model pays for gradients of
its inputs but not of its weights.

Memory: forward, loss and backward run on tensors that hold no numbers but are told to lie on a CPU
(``FakeTensorMode``), so that autocast, fused attention and checkpointing do what they do in training, and
:class:`LiveBytes` sees every tensor that is made and freed.

A stack of equal blocks is measured at two and three of them and continued to its length.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

MEASURED_BLOCKS = (2, 3)


@dataclass(frozen=True)
class StepCost:
    """One step: floating point operations (a multiply-add is two), and the most bytes that are alive at once beside
    the weights and their gradients.
    """

    flops: float
    activation_bytes: float

    def __add__(self, other: StepCost) -> StepCost:
        # The parts are alive at the same time, so their activations add up.
        return StepCost(self.flops + other.flops, self.activation_bytes + other.activation_bytes)

    def __mul__(self, times: float) -> StepCost:
        """The same step over ``times`` micro-batches: operations add up, memory does not."""
        return StepCost(self.flops * times, self.activation_bytes)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made inside that are still alive; ``peak`` is the most there were.

    ``known`` are tensors whose memory is counted elsewhere.
    """

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.alive, self.peak = 0, 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``function`` and note the storages that it made."""
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: Any) -> None:
        place = storage._cdata
        if place in self._seen:
            return
        self._seen.add(place)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._freed, place, storage.nbytes())

    def _freed(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self.alive -= size


@dataclass(frozen=True)
class Batch:
    """A micro-batch for the language model: rows, tokens of a row, labelled tokens of all rows, and whether its inputs
    need gradients (because something in front of it trains).
    """

    rows: int
    tokens: int
    labelled: int
    inputs_need_gradients: bool = False


def language_flops(model: Any, batch: Batch, *, checkpointing: bool = False) -> float:
    """Operations of the language model's forward and backward, logits only at labelled tokens.

    ``model`` is on the meta device with ``requires_grad`` set as in the stage. Without anything to train it
    is a forward alone. ``checkpointing``: the blocks' forward is done again in the backward,
    and counted with the little that stands around them.
    """
    decoder = model.get_decoder()

    def measured() -> float:
        with FlopCounterMode(display=False) as counter:
            states = _states(model, batch, torch.device("meta"))
            again = counter.get_total_flops() if checkpointing else 0
            logits = _logits(model, states, batch)
            if not logits.requires_grad:
                again = 0
            else:
                logits.sum().backward()
        for parameter in model.parameters():
            parameter.grad = None
        return float(counter.get_total_flops() + again)

    return _continued(decoder, measured)


def language_bytes(model: Any, batch: Batch, *, bfloat16: bool = False, checkpointing: bool = False) -> float:
    """The most bytes that the language model's forward, loss and backward hold at once beside weights and gradients.

    As :func:`language_flops`; ``bfloat16``: under autocast.
    """
    from vitrail.models.surgery.operating import added_parts

    decoder, head = model.get_decoder(), model.get_output_embeddings()
    added = list(added_parts(model).values())  # looked up by path, before blocks are left out

    def forward() -> torch.Tensor:
        logits = _logits(model, _states(model, batch, torch.device("cpu")), batch)
        targets = torch.empty(len(logits), dtype=torch.long)
        return F.cross_entropy(logits.float(), targets, reduction="none")

    def measured() -> float:
        return _live_bytes([decoder, head, *added], forward, bfloat16)

    trains = batch.inputs_need_gradients or any(one.requires_grad for one in model.parameters())
    with _training(model, checkpointing) if trains else nullcontext():
        return _continued(decoder, measured)


def _states(model: Any, batch: Batch, device: torch.device) -> torch.Tensor:
    shape = (batch.rows, batch.tokens)
    with device:
        embeds = torch.empty(
            *shape,
            model.config.get_text_config().hidden_size,
            dtype=_loaded_dtype(model),
            requires_grad=batch.inputs_need_gradients,
        )
        # A ready four-dimensional mask: building one would look at values, and there are none.
        mask = torch.ones(batch.rows, 1, batch.tokens, batch.tokens, dtype=torch.bool)
        positions = torch.empty(shape, dtype=torch.long)
    arguments = {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions}
    return model.get_decoder()(**arguments, use_cache=False).last_hidden_state


def _logits(model: Any, states: torch.Tensor, batch: Batch) -> torch.Tensor:
    return model.get_output_embeddings()(states.reshape(-1, states.shape[-1])[: max(batch.labelled, 1)])


def _loaded_dtype(model: Any) -> torch.dtype:
    half = any(parameter.dtype == torch.bfloat16 for parameter in model.get_decoder().parameters())
    return torch.bfloat16 if half else torch.float32


def _continued(decoder: Any, measured: Callable[[], float]) -> float:
    """A figure of the whole stack from that of its first blocks, where they are alike; else measured whole."""
    layers = getattr(decoder, "layers", None)
    fewer, more = MEASURED_BLOCKS
    if not isinstance(layers, nn.ModuleList) or len(layers) <= more or not _alike(layers):
        return measured()
    with _shortened(decoder, fewer):
        low = measured()
    with _shortened(decoder, more):
        high = measured()
    return low + (len(layers) - fewer) * (high - low)


def _alike(layers: nn.ModuleList) -> bool:
    def shape(layer: nn.Module) -> list[Any]:
        return [(name, tuple(p.shape), p.requires_grad) for name, p in layer.named_parameters()]

    return all(type(layer) is type(layers[0]) and shape(layer) == shape(layers[0]) for layer in layers)


@contextmanager
def _shortened(decoder: Any, blocks: int) -> Iterator[None]:
    """The decoder with its first ``blocks`` blocks only."""
    layers = decoder.layers
    decoder.layers = nn.ModuleList(list(layers)[:blocks])
    try:
        yield
    finally:
        decoder.layers = layers


@contextmanager
def _training(model: nn.Module, checkpointing: bool) -> Iterator[None]:
    """The model in training mode, with checkpointing as asked for; put back afterwards."""
    model.train()
    if checkpointing:
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")  # renamed in 5.2x
        next(getattr(model, name) for name in names if hasattr(model, name))()
    try:
        yield
    finally:
        model.eval()
        for module in model.modules():
            if getattr(module, "gradient_checkpointing", False):
                module.gradient_checkpointing = False  # type: ignore[assignment]


def connector_cost(connector: nn.Module, grid: tuple[int, int], width: int, pictures: int) -> StepCost:
    """Forward and backward of a connector (small: on the CPU, with real zeros) for ``pictures`` pictures."""
    from vitrail.models.features import Features

    if pictures == 0:
        return StepCost(0, 0)
    rows, cols = grid
    features = Features.from_grid(torch.zeros(1, rows * cols, width), rows, cols)
    return _scaled(_cost(connector, lambda: connector(features)[0]), pictures)


def tower_flops(tower: Any, image_size: tuple[int, int]) -> float:
    """Operations of a tower's forward for one picture of (width, height), on the meta device."""
    pixels = torch.empty(1, 3, image_size[1], image_size[0], device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tower(pixels)
    return float(counter.get_total_flops())


def tower_cost(tower: Any, image_size: tuple[int, int], pictures: int) -> StepCost:
    """Forward and backward of a tower that trains, on the meta device."""
    pixels = torch.empty(1, 3, image_size[1], image_size[0], device="meta")
    return _scaled(_cost(tower, lambda: tower(pixels).tokens), pictures)


def _scaled(cost: StepCost, times: int) -> StepCost:
    return StepCost(cost.flops * times, cost.activation_bytes * times)


def _cost(module: nn.Module, forward: Callable[[], torch.Tensor]) -> StepCost:
    """Operations and live bytes of a module as and where it is."""
    weights = [*module.parameters(), *module.buffers()]
    with FlopCounterMode(display=False) as counter, LiveBytes(weights) as live:
        output = forward()
        if output.requires_grad:
            output.sum().backward()
    for parameter in module.parameters():
        parameter.grad = None
    return StepCost(float(counter.get_total_flops()), float(live.peak))


def _live_bytes(modules: list[Any], forward: Callable[[], torch.Tensor], bfloat16: bool) -> float:
    mode = FakeTensorMode()
    with (
        _weightless(modules, mode) as weights,
        mode,
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        LiveBytes(weights) as live,
    ):
        output = forward()
        if output.requires_grad:
            output.sum().backward()
    return float(live.peak)


@contextmanager
def _weightless(modules: list[Any], mode: FakeTensorMode) -> Iterator[list[torch.Tensor]]:
    """Inside, the modules' tensors are fake ones, and what trains is float32 and has a gradient, as between the
    micro-batches of a step. Yields all whose memory is counted elsewhere.
    """
    made: dict[int, torch.Tensor] = {}
    places = []
    for module in nn.ModuleList(modules).modules():  # each once, however often it lies in them
        for store in (module._parameters, module._buffers):
            for name, value in store.items():
                if value is None:
                    continue
                if id(value) not in made:
                    made[id(value)] = _fake(value, mode)
                places.append((store, name, value))
                store[name] = made[id(value)]  # type: ignore[assignment]
    try:
        yield [*made.values(), *(value.grad for value in made.values() if value.grad is not None)]
    finally:
        for store, name, value in places:
            store[name] = value  # type: ignore[assignment]


def _fake(value: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    trains = value.requires_grad
    with mode:
        made = torch.empty(value.shape, dtype=torch.float32 if trains else value.dtype)
        if isinstance(value, nn.Parameter):
            made = nn.Parameter(made, requires_grad=trains)
        if trains:
            made.grad = torch.empty_like(made)
    return made


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

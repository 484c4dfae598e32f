"""One cache of keys and values for rows that come and go: what continuous batching decodes over.

Rows end at the same column, whatever their length: a row of n tokens stands in the last n columns before ``end``, so
that one forward writes the next token of all rows into one column. A row that comes is copied in front of ``end``; one
that goes leaves its place to the last row. The columns in use are a window that moves to the right through a buffer, so
that nothing is copied at a step; the buffer is renewed when the window reaches its end.

transformers' own dynamic layers join tensors at every step and cannot take a row in between; its paged cache
(``ContinuousBatchingManager``) takes no pictures. The layers here are dynamic layers to whoever asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from vitrail.models.logits import unwrapped

ROOM = 64
"""Columns that a new buffer has beyond what is in use, at least."""


class _Window:
    """Which rows and columns of every layer's buffer are in use."""

    def __init__(self) -> None:
        self.rows = self.start = self.end = self.columns = self.places = 0

    @property
    def width(self) -> int:
        return self.end - self.start


class _RowLayer(DynamicLayer):
    """A layer whose keys and values lie in a buffer ``(places, heads, columns, head_dim)``."""

    keys: Any  # None before the first row comes
    values: Any

    def __init__(self, window: _Window) -> None:
        super().__init__()
        self._window = window

    def begin(self, keys: Tensor, values: Tensor) -> None:
        """Room for the first rows, of the shape and type of ``keys`` and ``values``."""
        self.dtype, self.device = keys.dtype, keys.device
        self.keys, self.values = (self._room(one) for one in (keys, values))
        self.is_initialized = True

    def _room(self, like: Tensor) -> Tensor:
        window = self._window
        return like.new_zeros(window.places, like.shape[1], window.columns, like.shape[3])

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Write the next column; the columns in use, with it."""
        rows, start, end = self._window.rows, self._window.start, self._window.end
        stop = end + key_states.shape[-2]
        self.keys[:rows, :, end:stop] = key_states
        self.values[:rows, :, end:stop] = value_states
        return self.keys[:rows, :, start:stop], self.values[:rows, :, start:stop]

    def get_seq_length(self) -> int:
        """Columns in use before this step's."""
        return self._window.width

    def moved(self, start: int, end: int, to: int) -> None:
        """Into a new buffer: columns ``start`` to ``end`` of the rows in use, which begin at ``to`` there."""
        rows = self._window.rows
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._room(old)
            n = min(rows, len(old))
            new[:n, :, to : to + end - start] = old[:n, :, start:end]
            setattr(self, name, new)

    def put(self, place: int, end: int, keys: Tensor, values: Tensor) -> None:
        """A row's keys and values ``(heads, tokens, head_dim)`` in front of ``end``.

        What stood left of them is wiped: it is masked, but not a number times nothing is not a number.
        """
        start = end - keys.shape[1]
        for buffer, states in ((self.keys, keys), (self.values, values)):
            buffer[place, :, :start] = 0
            buffer[place, :, start:end] = states

    def copied(self, source: int, target: int) -> None:
        """One row over another."""
        start, end = self._window.start, self._window.end
        for held in (self.keys, self.values):
            held[target, :, start:end] = held[source, :, start:end]


class RowCache:
    """Keys and values of running rows. :attr:`cache` is what a model's forward takes."""

    def __init__(self) -> None:
        self._window = _Window()
        self._layers: list[_RowLayer] = []
        self.lengths: list[int] = []
        self.cache = DynamicCache()

    @property
    def width(self) -> int:
        """Columns in use: the tokens of the longest row."""
        return self._window.width

    def put(self, prompts: Any, row: int, length: int) -> None:
        """Add a row: the last ``length`` tokens of row ``row`` of ``prompts``, a cache of transformers.

        ValueError if that cache keeps anything else than keys and values of every token.
        """
        layers = held(prompts)
        window = self._window
        self._make_room(length)
        if not self._layers:
            self._layers = [_RowLayer(window) for _ in layers]
            for own, layer in zip(self._layers, layers, strict=True):
                own.begin(layer.keys, layer.values)
            self.cache.layers = list(self._layers)
        for own, layer in zip(self._layers, layers, strict=True):
            tokens = layer.keys.shape[2]
            kept = slice(tokens - length, tokens)
            own.put(window.rows, window.end, layer.keys[row, :, kept], layer.values[row, :, kept])
        window.rows += 1
        self.lengths.append(length)
        window.start = window.end - max(self.lengths)

    def mask(self, device: Any) -> Tensor:
        """``(rows, width + 1)``: which columns hold a row's tokens, the one to be written included."""
        columns = torch.arange(self.width, -1, -1)
        return (columns <= torch.tensor(self.lengths)[:, None]).long().to(device)

    def before_step(self) -> None:
        """See that there is a column for the next tokens."""
        window = self._window
        if window.end >= window.columns:
            while window.places >= 2 * window.rows > 1:
                window.places //= 2
            self._renew(window.width)

    def after_step(self) -> None:
        """The next tokens of all rows were written."""
        self._window.end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def drop(self, place: int) -> None:
        """Take a row away; the last row takes its place."""
        last = len(self.lengths) - 1
        if place != last:
            for layer in self._layers:
                layer.copied(last, place)
            self.lengths[place] = self.lengths[last]
        self.lengths.pop()
        window = self._window
        window.rows -= 1
        if window.rows:
            window.start = window.end - max(self.lengths)
        else:  # nothing is kept: the next rows may be few and short
            self._window, self._layers, self.cache.layers = _Window(), [], []

    def _make_room(self, length: int) -> None:
        """For one row more, of ``length`` tokens."""
        window = self._window
        if not window.rows:
            window.places, window.columns = 1, length + ROOM
            window.start = window.end = length
            return
        wanted = max(window.width, length)
        if window.rows == window.places:
            window.places = 2 * window.rows
            self._renew(wanted)
        elif length > window.end:
            self._renew(wanted)

    def _renew(self, width: int) -> None:
        """New buffers, in which the window stands at the left with ``width`` columns."""
        window = self._window
        start, end = window.start, window.end
        window.columns = width + max(ROOM, width // 2)
        for layer in self._layers:
            layer.moved(start, end, width - (end - start))
        window.end = width
        window.start = width - (end - start)


def held(cache: Any) -> list[Any]:
    """The layers of a cache. ValueError if one keeps anything but the keys and values of every token."""
    layers = list(getattr(cache, "layers", ()))
    for layer in layers:
        if type(layer) is not DynamicLayer:
            raise ValueError(f"its cache has a layer of another kind ({type(layer).__name__})")
        if layer.keys is None or layer.keys.ndim != 4:
            raise ValueError("a layer of its cache keeps no keys and values of its own")
    if not layers:
        raise ValueError("it keeps no cache of keys and values")
    return layers


SHARE = 0.2
"""Of the memory that is free: what the tokens may take. Buffers have up to three times their room, and are there twice
while a layer moves into new ones."""


def tokens_that_fit(model: nn.Module) -> int | None:
    """How many tokens' keys and values fit into the memory that is free on the model's device; None where that is not
    known.
    """
    device = next(model.parameters()).device
    free, token = _free_memory(device), _bytes_per_token(model)
    return None if free is None or token is None else max(1, int(SHARE * free / token))


def _bytes_per_token(model: nn.Module) -> int | None:
    inner: Any = unwrapped(model)
    config = inner.config.get_text_config()
    queries = getattr(config, "num_attention_heads", None)
    heads = getattr(config, "num_key_value_heads", None) or queries
    layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if not (isinstance(heads, int) and isinstance(layers, int) and isinstance(hidden, int) and queries):
        return None
    head = getattr(config, "head_dim", None) or hidden // queries
    return int(2 * layers * heads * head * next(model.parameters()).element_size())


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found and device.type == "cpu" else None

"""Reading demonstrations apart: what a batch says of them, their states, and their rows in the prompt.

A demonstration's text stands in the prompt as it would without its picture. Beside the prompt, the model reads picture
and text together, one demonstration at a time, and the states on the text take the places of the text's embeddings.
Lengths, positions, masks and labels are therefore those of the prompt with text alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.data.demonstrations import APART, pictures_apart
from vitrail.models.caching import NAMES
from vitrail.models.layout import Modality, Speaker
from vitrail.models.token_columns import COLUMNS

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

ROWS = "demonstration_rows"
"""Under this name in an encoded prompt's ``meta``: ready rows of its demonstrations, ``(tokens, hidden)`` each."""
AT_ONCE = 8
"""Demonstrations that are read in one forward: what bounds the memory that reading takes."""


@dataclass(frozen=True)
class Demonstrations:
    """The demonstrations of a batch of ``batch`` records, in order of records.

    ``record``, ``start`` and ``length`` say whose each is and where in its tokens (padding not counted) its text
    stands. Either ``readings`` are batches of :data:`AT_ONCE` demonstrations, picture and text, each padded on the
    right; or ``rows`` are what takes the places, all behind each other.
    """

    batch: int
    record: Int[Tensor, "demonstrations"]
    start: Int[Tensor, "demonstrations"]
    length: Int[Tensor, "demonstrations"]
    readings: tuple[Mapping[str, Any], ...] = ()
    rows: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Demonstrations:
        """The same on another device."""

        def moved(value: Any) -> Any:
            return value.to(device, non_blocking=non_blocking) if hasattr(value, "to") else value

        readings = tuple({name: moved(one) for name, one in reading.items()} for reading in self.readings)
        tensors = {name: moved(getattr(self, name)) for name in ("record", "start", "length", "rows")}
        return replace(self, readings=readings, **tensors)

    def places(self, mask: Int[Tensor, "rows tokens"]) -> Int[Tensor, "rows tokens"]:
        """Which row stands at each token of a padded batch, −1 where none does; ``mask`` is its attention mask.

        A batch that was expanded for beams has each record's rows several times.
        """
        found = torch.full(mask.shape, -1, dtype=torch.long)
        times = len(mask) // self.batch
        begins = (mask.cumsum(-1) == 0).sum(-1).tolist()
        first = 0
        told = zip(self.record.tolist(), self.start.tolist(), self.length.tolist(), strict=True)
        for record, start, length in told:
            for row in range(record * times, (record + 1) * times):
                begin = begins[row] + start
                found[row, begin : begin + length] = torch.arange(first, first + length)
            first += length
        return found.to(mask.device)


def segments(prompt: Encoded, k: int) -> list[tuple[int, int]]:
    """As :func:`exchange_spans`. ValueError also for a picture among them, which should be read apart."""
    shown = exchange_spans(prompt, k)
    for number, (start, stop) in enumerate(shown):
        if (prompt.modality[start:stop] != int(Modality.TEXT)).any():
            raise ValueError(
                f"demonstration {number} has its picture in the prompt and in meta.{APART}; leave it out of the turn"
            )
    return shown


def exchange_spans(prompt: Encoded, k: int) -> list[tuple[int, int]]:
    """Where the first ``k`` exchanges stand in a prompt: from the user's first word to what ends the answer.

    ValueError where the tokens do not tell so many apart.
    """
    own = (prompt.speaker == int(Speaker.USER)) | (prompt.speaker == int(Speaker.ASSISTANT))
    found: list[list[int]] = []
    before = int(Speaker.ASSISTANT)
    for place in np.flatnonzero(own):
        speaker = int(prompt.speaker[place])
        if speaker == int(Speaker.USER) and before == int(Speaker.ASSISTANT):
            found.append([int(place), int(place)])
        elif not found:
            raise ValueError("the prompt begins with an answer; a demonstration begins with the user's words")
        found[-1][1] = int(place) + 1
        before = speaker
    if len(found) < k + 1:
        raise ValueError(
            f"the prompt has {k} demonstrations, but its tokens show {max(len(found) - 1, 0)} exchanges in front of "
            "the question; every demonstration and the question need words of the user, and demonstrations an answer"
        )
    return [(start, stop) for start, stop in found[:k]]


def readings(bundle: Bundle, prompt: Encoded) -> list[tuple[int, Encoded]]:
    """Of every demonstration of a prompt that is read apart, where its text stands, and what is read."""
    pictures = pictures_apart(prompt)
    found = []
    for images, (start, stop) in zip(pictures, segments(prompt, len(pictures)), strict=True):
        text = {name: getattr(prompt, name)[start:stop] for name in COLUMNS}
        text["labels"], text["weight"] = np.full(stop - start, -100), np.zeros(stop - start, np.float32)
        found.append((start, bundle.encoder.behind_pictures(images, text, prompt.root)))
    return found


def demonstrations_of(bundle: Bundle, prompts: Sequence[Encoded]) -> Demonstrations | None:
    """Those of a batch of prompts; None where no prompt has any. ValueError as :func:`segments` and pictures say."""
    told: list[tuple[int, int, int]] = []
    read: list[Encoded] = []
    rows: list[Tensor] = []
    for number, prompt in enumerate(prompts):
        if not prompt.meta.get(APART):
            continue
        ready = prompt.meta.get(ROWS)
        if ready is not None:
            places = segments(prompt, len(ready))
            told += [(number, start, stop - start) for start, stop in places]
            rows += ready
            continue
        for start, one in readings(bundle, prompt):
            told.append((number, start, text_length(one)))
            read.append(one)
    if not told:
        return None
    if read and rows:
        raise ValueError(
            "some prompts of a batch have ready rows and some have not; encode all of them alike"
        )
    collate = bundle.collator("right")
    batches = tuple(collate(read[first : first + AT_ONCE]) for first in range(0, len(read), AT_ONCE))
    record, starts, length = (torch.tensor(column) for column in zip(*told, strict=True))
    ready_rows = torch.cat(rows) if rows else None
    return Demonstrations(len(prompts), record, starts, length, readings=batches, rows=ready_rows)


def text_length(reading: Encoded) -> int:
    """How many tokens of a reading are the demonstration's text: those behind its pictures' own."""
    own = np.flatnonzero((reading.speaker == int(Speaker.USER)) & (reading.modality == int(Modality.TEXT)))
    return int(reading.length - own[0])


class DemonstrationAggregator:
    """The states of a frozen model on the text of demonstrations, each read alone with its picture.

    ``read_layer``: 0 the embeddings, l the output of layer l, −1 the last one's; ``use_final_norm``: whether the
    decoder's norm goes over the last one's. ValueError for a layer that the model does not have.
    """

    def __init__(self, model: Any, read_layer: int = -1, use_final_norm: bool = True) -> None:
        self.decoder = model.get_decoder()
        count = len(self.decoder.layers)
        if not -1 <= read_layer <= count:
            raise ValueError(f"read_layer is {read_layer}; this model has 0 (embeddings) to {count}, or -1")
        self.layer = count if read_layer == -1 else read_layer
        self.normed = use_final_norm and self.layer == count

    @torch.no_grad()
    def states(
        self, model: Any, forward: Any, reading: Mapping[str, Any], lengths: Sequence[int]
    ) -> Float[Tensor, "tokens hidden"]:
        """The states on the last ``lengths`` real tokens of each row of a batch that is padded on the right.

        ``forward`` runs the model on the batch. Nothing is learnt through it, and nothing in it is left to chance.
        """
        kept: dict[str, Tensor] = {}
        with _still(model), self._watched(kept):
            forward(**reading)
        ends = reading["attention_mask"].sum(-1).tolist()
        rows = zip(kept["states"], ends, lengths, strict=True)
        return torch.cat([row[end - length : end] for row, end, length in rows])

    @contextmanager
    def _watched(self, kept: dict[str, Tensor]) -> Iterator[None]:
        def enter(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            embeds = kwargs.get("inputs_embeds")
            if embeds is None:
                embeds = self.decoder.get_input_embeddings()(
                    kwargs.get("input_ids", args[0] if args else None)
                )
            kept["states"] = embeds

        def leave(_: nn.Module, __: tuple, output: Any) -> None:
            kept["states"] = output if isinstance(output, Tensor) else output[0]

        if self.layer == 0:
            handle = self.decoder.register_forward_pre_hook(enter, with_kwargs=True)
        else:
            module = self.decoder if self.normed else self.decoder.layers[self.layer - 1]
            handle = module.register_forward_hook(leave)
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def _still(model: Any) -> Iterator[None]:
    """Evaluation mode inside; what modules keep between calls (Qwen's offset of positions) is as before afterwards."""
    training = [module for module in model.modules() if module.training]
    offsets = [(module, module.rope_deltas) for module in model.modules() if hasattr(module, "rope_deltas")]
    model.eval()
    try:
        for module, _ in offsets:
            module.rope_deltas = None
        yield
    finally:
        for module, offset in offsets:
            module.rope_deltas = offset
        for module in training:
            module.training = True


@functools.cache
def reading_class(base: Any) -> Any:
    """``base`` whose ``forward`` and ``generate`` take ``demonstrations`` as well (:class:`Demonstrations`)."""
    signature = inspect.signature(base.forward)

    class Reading(base):
        reads_demonstrations = True

        def forward(self, *args: Any, demonstrations: Demonstrations | None = None, **kwargs: Any) -> Any:
            given = signature.bind(self, *args, **kwargs).arguments
            given = {**given, **given.pop("kwargs", {})}
            ids, mask = given.get("input_ids"), given.get("attention_mask")
            if ids is None and demonstrations is not None:
                raise ValueError("demonstrations are placed among input_ids; give those, not inputs_embeds")
            if ids is None or _goes_on(given):
                return super().forward(*args, **kwargs)
            if demonstrations is None:
                with _touched(self):
                    return super().forward(*args, **kwargs)
            mask = (
                torch.ones_like(ids) if mask is None else mask
            )  # generate leaves one out that hides nothing
            if not isinstance(mask, Tensor) or mask.ndim != 2:
                raise ValueError(
                    "demonstrations are placed by an attention mask (batch, tokens), and a mask of four dimensions came"
                )
            demonstrations = demonstrations.to(ids.device)
            rows = fused(self, demonstrations, super().forward)
            with _placed(self, demonstrations.places(mask), rows):
                return super().forward(*args, **kwargs)

    own = list(signature.parameters.values())
    cut = next((n for n, one in enumerate(own) if one.kind is inspect.Parameter.VAR_KEYWORD), len(own))
    more = inspect.Parameter("demonstrations", inspect.Parameter.KEYWORD_ONLY, default=None)
    Reading.forward.__signature__ = signature.replace(parameters=[*own[:cut], more, *own[cut:]])  # type: ignore[attr-defined]
    Reading.__name__, Reading.__qualname__ = base.__name__, base.__qualname__
    Reading.__module__ = base.__module__
    return Reading


def _goes_on(given: Mapping[str, Any]) -> bool:
    """Whether a call goes on behind a prompt that its cache holds."""
    cache = next((given[name] for name in NAMES if given.get(name) is not None), None)
    return cache is not None and int(cache.get_seq_length()) > 0


def fused(model: Any, demonstrations: Demonstrations, forward: Any) -> Float[Tensor, "tokens hidden"]:
    """What takes the places of the demonstrations' text, all behind each other: ready rows, or projected states."""
    if demonstrations.rows is not None:
        return demonstrations.rows
    aim = model.aim
    aggregator = DemonstrationAggregator(model, aim.config.read_layer, aim.config.use_final_norm)
    parameters = inspect.signature(forward).parameters
    lengths, found = demonstrations.length.tolist(), []
    for reading in demonstrations.readings:
        left = {name: value for name, value in reading.items() if name not in ("labels", "layout")}
        left |= {"layout": reading["layout"]} if "layout" in parameters else {}
        left |= {"use_cache": False, **({"logits_to_keep": 1} if "logits_to_keep" in parameters else {})}
        count = len(reading["input_ids"])
        found.append(aggregator.states(model, forward, left, lengths[:count]))
        lengths = lengths[count:]
    return aim.projection(torch.cat(found).to(aim.projection.weight.dtype))


@contextmanager
def _placed(model: Any, places: Tensor, rows: Tensor) -> Iterator[None]:
    """Inside, the word embeddings of a batch have ``rows`` at ``places``."""

    def put(_: nn.Module, args: tuple, output: Tensor) -> Tensor:
        if output.shape[:2] != places.shape:
            return output
        new = rows.to(output.dtype)[places.clamp(min=0)]
        return torch.where((places >= 0)[..., None], new, output)

    with _hooked(model, put):
        yield


@contextmanager
def _touched(model: Any) -> Iterator[None]:
    """Inside, the projection takes part with zero weight where it trains: a batch without demonstrations among
    processes that have some needs it.
    """
    trained = [one for one in model.aim.parameters() if one.requires_grad]
    if not (trained and model.training and torch.is_grad_enabled()):
        yield
        return

    def touch(_: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output + sum(0.0 * one.sum() for one in trained).to(output.dtype)  # type: ignore[union-attr]

    with _hooked(model, touch):
        yield


@contextmanager
def _hooked(model: Any, hook: Any) -> Iterator[None]:
    handle = model.get_input_embeddings().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()

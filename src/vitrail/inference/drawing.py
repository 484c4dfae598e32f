"""Drawing tokens so that an answer depends on its own chat and seed alone.

transformers draws the tokens of a whole batch from one stream of random numbers, so that an answer changes with its
neighbours. Here every row has a stream of its own, seeded by the prompt (its tokens, pictures and id) and the seed of
the settings; a token is found by inverting the distribution at the next number of that stream. The distribution is
transformers' own: its warpers of temperature, top-k and top-p stand in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vitrail.inference.likelihood import TIE
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.inference.generation import GenerationSettings
    from vitrail.models.encoding import Encoded


def drawing(prompts: Sequence[Encoded], settings: GenerationSettings) -> Any:
    """Processors for ``generate`` that leave each row the one token drawn for it; None where nothing is drawn.

    Beams are left to transformers, which draws several tokens a row.
    """
    if settings.temperature == 0 or settings.num_beams > 1:
        return None
    from transformers import LogitsProcessorList

    draws = RowDraws([row_seed(one, settings.seed) for one in prompts])
    return LogitsProcessorList([*_warpers(settings), draws])


def _warpers(settings: GenerationSettings) -> list[Any]:
    """transformers' own changes of a distribution, in its order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers: list[Any] = [TemperatureLogitsWarper(float(settings.temperature))]
    if settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers


class Drawing:
    """How one answer's tokens are chosen, where answers with settings of their own are made together.

    ``kind``: those of equal kind can be chosen at once.
    """

    def __init__(self, prompt: Encoded, settings: GenerationSettings) -> None:
        draws = settings.temperature > 0
        self._warpers = _warpers(settings) if draws else []
        self._stream = torch.Generator().manual_seed(row_seed(prompt, settings.seed)) if draws else None
        penalty = settings.repetition_penalty
        self.kind = (penalty, settings.temperature, settings.top_k, settings.top_p)

    @staticmethod
    def choose(drawings: Sequence[Drawing], scores: Tensor) -> list[int]:
        """A token for each row of ``scores`` ``(rows, vocab)``: drawn, or the likeliest. They are of one kind."""
        streams = [one._stream for one in drawings if one._stream is not None]
        if streams:
            for warper in drawings[0]._warpers:
                scores = warper(None, scores)
            return drawn(scores, streams)[:, 0].tolist()
        return likeliest(scores).tolist()


def row_seed(prompt: Encoded, seed: int) -> int:
    """The seed of a prompt's stream: of its id, tokens and pictures."""
    pictures = [key(one.bytes) if one.bytes is not None else one.path or one.url for one in prompt.images]
    return int(key("drawn", seed, prompt.id, prompt.input_ids.tolist(), pictures)[:15], 16)


class RowDraws:
    """A logits processor: one token of each row, drawn from the row's own stream, is left."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``scores`` ``(rows, vocab)``: 0 at the drawn tokens, −inf elsewhere."""
        return torch.full_like(scores, float("-inf")).scatter(1, drawn(scores, self._streams), 0.0)


def likeliest(scores: Tensor) -> Tensor:
    """The likeliest token of each row of ``scores`` ``(rows, vocab)``; of those within :data:`TIE` of it the first.

    Batching moves a float32 logit that far: without this, tokens that are equally likely would be told apart by it.
    """
    equal: Tensor = scores >= scores.amax(-1, keepdim=True) - TIE
    return equal.int().argmax(-1)


class FirstOfEquals:
    """A logits processor: one token of each row is left, :func:`likeliest`."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``scores`` ``(rows, vocab)``: 0 at the likeliest tokens, −inf elsewhere."""
        return torch.full_like(scores, float("-inf")).scatter(1, likeliest(scores)[:, None], 0.0)


def drawn(scores: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    """A token ``(rows, 1)`` for each row of ``scores`` ``(rows, vocab)``, at the next number of its stream."""
    exact = scores.double() if scores.device.type != "mps" else scores.float()
    reached = exact.softmax(-1).cumsum(-1)
    numbers = torch.stack([torch.rand((), generator=stream) for stream in streams])
    at = numbers.to(reached)[:, None] * reached[:, -1:]
    return torch.searchsorted(reached, at, right=True).clamp(max=scores.shape[-1] - 1)

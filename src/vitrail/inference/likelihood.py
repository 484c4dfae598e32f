"""How likely a model finds each of several answers.

The prompt, with its pictures, is forwarded once; its key-value cache is then expanded over the options, which
follow as one batch. Of several questions about one picture, what comes up to the picture's end is forwarded once
(:mod:`vitrail.inference.picture_prefix`). What comes out equals one plain forward for each option (float32: within
1e-5), whatever the batch size, the order and the padding side.

Ranking options by likelihood is the *PPL* inferencer of ChEF (Chen et al. 2023): only the options' own tokens
count, not those of the prompt or of an answer template.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.inference import picture_prefix
from vitrail.inference.inputs import evaluating, extended, model_inputs, takes_use_cache
from vitrail.inference.prefill import Begun, Sharing, append, begin, behind_pictures, prompt_sharing
from vitrail.models.encoding import Encoded
from vitrail.models.logits import logits_at

TIE = 1e-5
"""Two options whose values differ by less are tied: batching alone may move a float32 value that far."""

Normalisation = Literal["sum", "token", "byte"]
Item = tuple[Encoded, Sequence[Sequence[int]]]
"""A prompt, and the tokens of each option."""


@dataclass(frozen=True)
class OptionLogProbs:
    """The log-probability (natural logarithm) of every token of every option of one question."""

    tokens: tuple[tuple[float, ...], ...]

    @property
    def sums(self) -> tuple[float, ...]:
        """The log-probability of each option as a whole."""
        return tuple(sum(option) for option in self.tokens)

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of tokens of each option."""
        return tuple(len(option) for option in self.tokens)


class Ranking(NamedTuple):
    """One value an option, the best option, its lead over the second, and whether that is a tie."""

    values: tuple[float, ...]
    best: int
    margin: float
    tie: bool


def rank(scores: OptionLogProbs, normalise: Normalisation, lengths: Sequence[int] | None = None) -> Ranking:
    """Order options by their log-probability as a whole, a token, or a byte (``lengths``: bytes of each
    option's text).

    Options within :data:`TIE` of the best are tied; the first of them is taken.
    """
    if normalise == "sum":
        values = scores.sums
    elif normalise == "token":
        values = tuple(total / count for total, count in zip(scores.sums, scores.counts, strict=True))
    elif lengths is None:
        raise ValueError("normalise='byte' needs the options' lengths in bytes")
    else:
        values = tuple(total / max(1, length) for total, length in zip(scores.sums, lengths, strict=True))
    top = max(values)
    close = [index for index, value in enumerate(values) if top - value < TIE]
    margin = top - sorted(values)[-2]
    return Ranking(values, close[0], margin, len(close) > 1)


def option_logprobs(
    model: nn.Module,
    collator: Callable[[list[Encoded]], dict[str, Any]],
    items: Sequence[Item],
    *,
    batch_size: int = 16,
    token_budget: int = 16384,
    share_prompt: bool | None = None,
) -> list[OptionLogProbs]:
    """Log-probabilities of options, in the order of ``items``.

    Args:
        model: anything with ``model(**batch)`` of transformers or of ours.
        collator: encoded prompts → batch, padded on either side.
        items: prompts (ending where the answer begins), each with its options as token ids.
        batch_size: prompts in a batch at most; they are grouped by length.
        token_budget: tokens of prompts, or of options with their prompts' cache, in one forward at most (a
            single one may exceed it).
        share_prompt: True forwards a prompt once for all its options, False once for each option, None as
            :func:`prompt_sharing` allows. Where it is shared, so is the beginning of prompts with the same pictures in
            a batch, unless the model's code speaks against it (:func:`vitrail.inference.picture_prefix.why_not`).

    ValueError for an option without tokens, or for ``share_prompt=True`` where the model cannot.
    """
    for index, (_, options) in enumerate(items):
        if not options or not all(len(option) for option in options):
            raise ValueError(
                f"item {index} has no options, or an option without tokens; nothing can be scored"
            )
    sharing = prompt_sharing(model) if share_prompt is not False else Sharing(False)
    if share_prompt and not sharing.possible:
        raise ValueError(
            f"this model cannot share a prompt between options: {sharing.reason}; use share_prompt=None"
        )
    found: list[OptionLogProbs | None] = [None] * len(items)
    with evaluating(model):
        if not sharing.possible:
            return [_one_by_one(model, collator, item) for item in items]
        prompts = [prompt for prompt, _ in items]
        groups, others = _same_beginnings(model, prompts, batch_size)
        for some in picture_prefix.batches(groups, prompts, batch_size, token_budget):
            order = [index for group in some for index in group]
            begun = behind_pictures(model, collator, [[prompts[index] for index in group] for group in some])
            scored = _options_of(model, begun, [items[index] for index in order], token_budget)
            for index, scores in zip(order, scored, strict=True):
                found[index] = scores
        for batch in _batches([items[index] for index in others], batch_size, token_budget):
            chosen = [items[others[place]] for place in batch]
            begun = _prompts(model, collator, chosen)
            for place, scores in zip(batch, _options_of(model, begun, chosen, token_budget), strict=True):
                found[others[place]] = scores
    return [scores for scores in found if scores is not None]


def _batches(items: Sequence[Item], batch_size: int, token_budget: int) -> Iterator[list[int]]:
    """Indices in groups of similar length: the longest first, so that running out of memory shows at once."""
    order = sorted(range(len(items)), key=lambda index: (-items[index][0].length, index))
    group: list[int] = []
    for index in order:
        width = items[group[0]][0].length if group else 0
        if group and (len(group) == batch_size or (len(group) + 1) * width > token_budget):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _one_by_one(
    model: nn.Module, collator: Callable[[list[Encoded]], dict[str, Any]], item: Item
) -> OptionLogProbs:
    prompt, options = item
    uncached = {"use_cache": False} if takes_use_cache(model) else {}
    scores = []
    for option in options:
        inputs = model_inputs(model, collator([extended(prompt, option)]))
        keep = torch.zeros_like(inputs["attention_mask"], dtype=torch.bool)
        real = inputs["attention_mask"][0].nonzero()[:, 0]
        keep[0, real[-len(option) - 1 : -1]] = True
        logits = logits_at(model, keep, **inputs, **uncached).logits
        scores.append(tuple(_chosen(logits, list(option)).tolist()))
    return OptionLogProbs(tuple(scores))


class _Option(NamedTuple):
    row: int
    place: int
    ids: list[int]


def _same_beginnings(
    model: nn.Module, prompts: Sequence[Encoded], batch_size: int
) -> tuple[list[list[int]], list[int]]:
    if batch_size < 2 or picture_prefix.why_not(model):
        return [], list(range(len(prompts)))
    return picture_prefix.same_beginnings(prompts, batch_size)


def _prompts(
    model: nn.Module, collator: Callable[[list[Encoded]], dict[str, Any]], items: Sequence[Item]
) -> Begun:
    """Whole prompts, one a row."""
    return begin(model, collator, [prompt for prompt, _ in items], _goes_on(items))


def _goes_on(items: Sequence[Item]) -> bool:
    """Whether an option has more than the one token that the prompt's own logits tell."""
    return any(len(option) > 1 for _, options in items for option in options)


def _options_of(
    model: nn.Module, begun: Begun, items: Sequence[Item], token_budget: int
) -> list[OptionLogProbs]:
    """The options' log-probabilities behind their prompts (whose cache is changed)."""
    device = begun.mask.device
    options = [
        _Option(row, index, list(ids))
        for row, (_, given) in enumerate(items)
        for index, ids in enumerate(given)
    ]
    longer = sorted((option for option in options if len(option.ids) > 1), key=lambda one: -len(one.ids))
    rows = torch.tensor([option.row for option in options], device=device)
    first = _chosen(begun.logits[rows], [option.ids[0] for option in options]).tolist()
    scores = {(option.row, option.place): [value] for option, value in zip(options, first, strict=True)}
    slices = list(_slices(longer, begun.mask.shape[1], token_budget))
    for number, some in enumerate(slices):
        cache = begun.cache if number == len(slices) - 1 else copy.deepcopy(begun.cache)
        # The last token is not read: nothing follows it.
        read = [option._replace(ids=option.ids[:-1]) for option in some]
        logits = append(
            model, begun._replace(cache=cache), [one.row for one in read], [one.ids for one in read]
        ).logits
        values = _chosen(logits, [token for option in some for token in option.ids[1:]])
        for option, part in zip(some, values.split([len(one.ids) for one in read]), strict=True):
            scores[option.row, option.place] += part.tolist()
    return [
        OptionLogProbs(tuple(tuple(scores[row, index]) for index in range(len(given))))
        for row, (_, given) in enumerate(items)
    ]


def _slices(options: list[_Option], width: int, token_budget: int) -> Iterator[list[_Option]]:
    """Options that are forwarded together; each holds a copy of its prompt's cache."""
    some: list[_Option] = []
    for option in options:
        if some and (len(some) + 1) * (width + len(some[0].ids)) > token_budget:
            yield some
            some = []
        some.append(option)
    if some:
        yield some


def _chosen(logits: Float[Tensor, "rows vocab"], ids: list[int]) -> Float[Tensor, "rows"]:
    """The log-probability of token ``ids[i]`` under row i."""
    logits = logits.float()
    index = torch.tensor(ids, device=logits.device)
    return logits.gather(-1, index[:, None])[:, 0] - logits.logsumexp(-1)

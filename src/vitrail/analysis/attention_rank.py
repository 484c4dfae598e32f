"""ARank: how redundant a decoder layer is, read off the rank of its attention.

γ-MoD (Luo et al. 2024, arXiv 2410.13859): ``τ_l = mean over heads and samples of rank(tril(A_l, −1))``, with A the
attention after softmax, in float32 and with the default tolerance (largest singular value × L × eps). Layers of low
rank are redundant and may become mixture-of-depth layers (surgery ``gamma_mod``). Measured on the aligned model,
before instruction tuning, over a few dozen samples.

Attention is made from queries and keys inside a registered attention function, one sample and a few heads at a time:
no eager attention is needed, and no more than ``HEADS`` matrices of L × L are alive. Padding is cut off before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from vitrail.data.records import Chat
    from vitrail.models.bundle import Bundle

NAME = "vitrail_rank"
HEADS = 4
"""Heads whose attention is alive at once."""


class _Measuring:
    """One forward: which tokens are there, and the ranks found, by layer and sample."""

    def __init__(self, layers: frozenset[int], present: Tensor) -> None:
        self.layers, self.present = layers, present
        self.found: dict[int, list[float]] = {}

    def measure(self, module: Any, query: Tensor, key: Tensor, mask: Any, settings: dict[str, Any]) -> None:
        layer = int(module.layer_idx)
        if layer in self.layers:
            self.found[layer] = [
                self._rank(row, query, key, mask, settings) for row in range(len(self.present))
            ]

    def _rank(self, row: int, query: Tensor, key: Tensor, mask: Any, settings: dict[str, Any]) -> float:
        there = self.present[row].nonzero()[:, 0].to(query.device)
        heads, shared = query.shape[1], query.shape[1] // key.shape[1]
        ranks = []
        for begin in range(0, heads, HEADS):
            chosen = torch.arange(begin, min(begin + HEADS, heads), device=query.device)
            q = query[row, chosen][:, there].float()
            k = key[row, chosen // shared][:, there].float()
            scores = q @ k.transpose(-1, -2) * (settings.get("scaling") or q.shape[-1] ** -0.5)
            if settings.get("softcap"):
                scores = torch.tanh(scores / settings["softcap"]) * settings["softcap"]
            own = mask.expand(len(query), -1, -1, -1)[row]
            own = own if len(own) == 1 else own[chosen]
            own = own[:, there][:, :, there]
            scores = scores.masked_fill(~own, -torch.inf) if own.dtype == torch.bool else scores + own
            ranks.append(torch.linalg.matrix_rank(scores.softmax(-1).tril(-1)).float())
        return float(torch.cat(ranks).mean())


_HERE: ContextVar[_Measuring | None] = ContextVar("vitrail_attention_rank", default=None)


def attention_rank(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    layers: Sequence[int] | None = None,
    normalise: bool = False,
) -> Float[Tensor, "layers"]:
    """The mean rank of each layer's attention, over heads and samples, of the decoder of ``model``.

    ``batches``: what a collator returns. ``layers``: those to measure, in this order (default: all).
    ``normalise``: divide each sample's rank by its length, which samples of different lengths need. ValueError for
    such samples otherwise, for a sample of fewer than two tokens, a layer that is not there, and a model whose layers
    do not attend through transformers' attention interface.
    """
    from vitrail.inference.inputs import evaluating
    from vitrail.models.rules.target import Target

    target = Target.of(model)
    wanted = list(range(target.num_layers)) if layers is None else list(layers)
    beyond = [layer for layer in wanted if not 0 <= layer < target.num_layers]
    if beyond:
        raise ValueError(
            f"layers names {beyond[0]}, but {target.name} has layers 0 to {target.num_layers - 1}"
        )
    ranks: list[list[float]] = [[] for _ in wanted]
    lengths: list[int] = []
    with _attending(target), evaluating(model):
        for batch in batches:
            found, own = _forward(model, batch, frozenset(wanted), target.name)
            lengths += own
            for place, layer in enumerate(wanted):
                ranks[place] += found[layer]
    if not lengths:
        raise ValueError("attention_rank got no batch; give at least one")
    if len(set(lengths)) > 1 and not normalise:
        raise ValueError(
            f"samples have {min(lengths)} to {max(lengths)} tokens, and longer ones have higher ranks; set "
            "normalise=True, or give samples of one length"
        )
    table = torch.tensor(ranks, dtype=torch.float64)
    table = table / torch.tensor(lengths, dtype=torch.float64) if normalise else table
    return table.mean(1).float()


def _forward(
    model: nn.Module, batch: Mapping[str, Any], layers: frozenset[int], name: str
) -> tuple[dict[int, list[float]], list[int]]:
    from vitrail.inference.inputs import model_inputs

    inputs = model_inputs(model, batch)
    present = inputs["attention_mask"].bool()
    lengths = present.sum(1).tolist()
    if min(lengths) < 2:
        raise ValueError(f"a sample of {min(lengths)} token has no attention to others; leave it out")
    measuring = _Measuring(layers, present)
    token = _HERE.set(measuring)
    try:
        model(**{"use_cache": False, **inputs})
    finally:
        _HERE.reset(token)
    missed = sorted(layers - set(measuring.found))
    if missed:
        raise ValueError(
            f"layer {missed[0]} of {name} gives no attention: it does not attend through transformers' attention "
            "interface"
        )
    return measuring.found, lengths


def select_layers(
    ranks: Float[Tensor, "layers"],
    ratio: float | None = None,
    *,
    keep_first: int = 0,
    keep_last: int = 0,
) -> list[int]:
    """The layers to route, in order: those of lowest rank, ``ratio`` of all layers (rounded, at least one).

    The first ``keep_first`` and the last ``keep_last`` are left out; without a ratio all others are taken (the
    published choice for 32 layers is 3 and 1). Of equal ranks the earlier layer is taken. ValueError if fewer layers
    are left than the ratio asks for.
    """
    depth = len(ranks)
    if keep_first < 0 or keep_last < 0 or keep_first + keep_last >= depth:
        raise ValueError(
            f"keep_first={keep_first} and keep_last={keep_last} leave none of {depth} layers to route"
        )
    free = range(keep_first, depth - keep_last)
    if ratio is None:
        return list(free)
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio is {ratio}; give a share of the layers above 0 and up to 1")
    count = max(1, round(ratio * depth))
    if count > len(free):
        raise ValueError(
            f"ratio={ratio} asks for {count} of {depth} layers, but keep_first and keep_last leave {len(free)}"
        )
    return sorted(sorted(free, key=lambda layer: (float(ranks[layer]), layer))[:count])


def choose_layers(
    bundle: Bundle,
    records: Sequence[Chat],
    ratio: float | None = 0.5,
    *,
    keep_first: int = 0,
    keep_last: int = 0,
    batch_size: int = 4,
    root: Any = None,
) -> list[int]:
    """The explicit list of layers that the surgery ``gamma_mod`` takes, by the ranks on a few dozen ``records``."""
    if not records:
        raise ValueError("choose_layers got no record; give a few dozen")
    encoded = [bundle.encoder.encode(record, root=root) for record in records]
    collate = bundle.collator()
    batches = (collate(encoded[begin : begin + batch_size]) for begin in range(0, len(encoded), batch_size))
    ranks = attention_rank(bundle.model, batches, normalise=True)
    return select_layers(ranks, ratio, keep_first=keep_first, keep_last=keep_last)


@contextmanager
def _attending(target: Any) -> Iterator[None]:
    """The decoder attends through :func:`_attend` inside; its masks are always made."""
    before = [(config, config._attn_implementation) for config in target.configs]
    _register()
    try:
        for config, _ in before:
            config._attn_implementation = NAME
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    measuring = _HERE.get()
    if measuring is not None:
        measuring.measure(module, query, key, mask, kwargs)
    if kwargs.get("softcap"):
        from vitrail.models.rules.lowering import _eager

        zero = torch.zeros((), dtype=query.dtype, device=query.device)
        return _eager(
            module, query, key, value, torch.where(mask, zero, torch.finfo(query.dtype).min), **kwargs
        )
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)


def _mask(*args: Any, **kwargs: Any) -> Any:
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


def _register() -> None:
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)

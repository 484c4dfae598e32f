"""What stands in front of a model's head, so that its logits can be made in chunks.

The model's own forward runs, wrappers included, but for that call its head lets the states through to a list and
answers with the logits of a few of them alone. What the model makes of those (soft-capping, a factor) is compared with
what its configuration says; where the two differ, or the head is not a plain linear layer, logits are made whole, as
ever. The comparison is made once for each head. A forward that has to be made again begins from the same random state.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitrail.models.logits import logits_at, unwrapped
from vitrail.objectives import liger
from vitrail.objectives.linear_cross_entropy import Scaling, by_token, chunk_of, summed

LOOKED_AT = 2
"""Positions whose logits the model makes itself, to see what it does to them."""


@dataclass(frozen=True)
class HeadStates:
    """States in front of a head ``weight`` (and ``bias``), and what the model does to the logits behind it."""

    states: Float[Tensor, "kept hidden"]
    weight: Float[Tensor, "vocab hidden"]
    bias: Float[Tensor, "vocab"] | None
    scaling: Scaling

    def rows(self, chosen: Bool[Tensor, "kept"]) -> HeadStates:
        """Some of the states."""
        return HeadStates(self.states[chosen], self.weight, self.bias, self.scaling)

    def logits(self) -> Float[Tensor, "kept vocab"]:
        """All logits at once, for who cannot do without."""
        return self.scaling(torch.nn.functional.linear(self.states, self.weight, self.bias))

    def loss(
        self,
        labels: Int[Tensor, "kept"],
        factors: Float[Tensor, "kept"] | None = None,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The sum of the labels' cross-entropies, each times its factor; by Liger's kernel where that serves."""
        if factors is None and liger.serves(self.states, self.scaling):
            return liger.summed(
                self.states, self.weight, labels, self.bias, self.scaling.cap, label_smoothing
            )
        return summed(
            self.states,
            self.weight,
            labels,
            self.bias,
            factors=factors,
            scaling=self.scaling,
            label_smoothing=label_smoothing,
        )

    def losses(
        self, labels: Int[Tensor, "kept"], label_smoothing: float = 0.0
    ) -> tuple[Float[Tensor, "kept"], Float[Tensor, "kept"]]:
        """Each label's cross-entropy, and the logarithm of each softmax's normaliser."""
        return by_token(
            self.states,
            self.weight,
            labels,
            self.bias,
            scaling=self.scaling,
            label_smoothing=label_smoothing,
        )


_SCALINGS: weakref.WeakKeyDictionary[nn.Module, Scaling | None] = weakref.WeakKeyDictionary()
"""What is known of each head: None where its logits are to be made whole."""


def states_at(
    model: nn.Module, keep: Bool[Tensor, "batch tokens"], **inputs: Any
) -> tuple[Any, HeadStates | None]:
    """Run ``model(**inputs)``: its output, and what stands in front of its head at ``keep``, row by row.

    Where chunks would save nothing, or cannot be made, the second is None and the output's ``logits`` are whole, as
    :func:`~vitrail.models.logits.logits_at` gives them; otherwise they are not to be read.
    """
    head = _plain_head(model)
    worth = head is not None and int(keep.sum()) > chunk_of(head.weight.shape[0], head.weight.device)
    if head is None or not worth or _SCALINGS.get(head, Scaling()) is None:
        return logits_at(model, keep, **inputs), None
    before = _random_state()
    with _letting_through(head) as seen:
        output = logits_at(model, keep, **inputs)
    if not seen:  # the model reads its head's weight without calling it
        _SCALINGS[head] = None
        return output, None
    if head not in _SCALINGS:
        _SCALINGS[head] = _recognised(model, seen, output)
    scaling = _SCALINGS[head]
    states = seen[0][0].reshape(-1, head.weight.shape[1])
    if scaling is None or len(seen) != 1 or len(states) != int(keep.sum()):
        _SCALINGS[head] = None
        _set_random_state(before)
        return logits_at(model, keep, **inputs), None
    return output, HeadStates(states, head.weight, head.bias, scaling)


def _plain_head(model: nn.Module) -> nn.Linear | None:
    """The head, if it is a linear layer and nothing more, whose weight is whole in this process."""
    inner: Any = unwrapped(model)
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    hooked = head is not None and (head._forward_hooks or head._forward_pre_hooks)
    if type(head) is not nn.Linear or hooked or hasattr(model, "module") or "forward" in vars(head):
        return None
    return None if hasattr(head.weight, "placements") else head


@contextmanager
def _letting_through(head: nn.Linear) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Inside, ``head`` keeps its input in the list, with the logits of the first few that it gives."""
    seen: list[tuple[Tensor, Tensor]] = []
    linear = head.forward

    def forward(states: Tensor) -> Tensor:
        with torch.no_grad():
            few = linear(states.reshape(-1, states.shape[-1])[:LOOKED_AT])
        seen.append((states, few))
        return few

    head.forward = forward  # type: ignore[method-assign, assignment]
    try:
        yield seen
    finally:
        del head.forward


def described(config: Any) -> Scaling:
    """What a configuration of transformers says is done to logits."""
    text = config.get_text_config()
    factor = float(getattr(text, "logit_scale", None) or 1.0)
    factor *= float(getattr(text, "lm_head_multiplier", None) or 1.0)
    factor /= float(getattr(text, "logits_scaling", None) or 1.0)
    cap = getattr(text, "final_logit_softcapping", None)
    return Scaling(factor, None if cap is None else float(cap))


@torch.no_grad()
def _recognised(model: nn.Module, seen: list[tuple[Tensor, Tensor]], output: Any) -> Scaling | None:
    """What the model did to its logits, if that is what its configuration says."""
    inner: Any = unwrapped(model)
    few, found = seen[0][1], getattr(output, "logits", None)
    if not isinstance(found, Tensor) or found.numel() != few.numel():
        return None
    found = found.reshape(few.shape).double()
    rough = torch.finfo(few.dtype).eps * 8
    scaling = described(inner.config)
    for one in dict.fromkeys((scaling, Scaling())):
        wanted = one(few.double())
        if bool((found - wanted).abs().max() <= rough * wanted.abs().max().clamp(min=1e-6)):
            return one
    return None


def _random_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])

"""A cache layer that knows which tokens it holds.

transformers takes the length of a cache for the number of tokens seen, and the place of an entry for its token. Once
tokens were dropped or forgotten neither is true; this layer keeps both apart, so that masks stay functions of tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class HeldLayer(DynamicLayer):
    """Keys and values of some of the tokens seen.

    ``index`` holds the token of each entry: ``(entries,)``, or ``(batch, entries)`` where rows differ, −1 for an
    entry that stands for nothing (rows hold equally many). ``seen`` counts tokens, held or not.
    """

    index: Tensor
    seen: int
    _next: tuple[Tensor, int, Tensor | None] | None

    @classmethod
    def of(cls, layer: DynamicLayer) -> HeldLayer:
        """From a plain layer, whose entries are taken over."""
        made = cls()
        made.seen = layer.get_seq_length()
        made.index = torch.arange(made.seen)
        made._next = None
        if made.seen:
            made.lazy_initialization(layer.keys, layer.values)  # type: ignore[arg-type]
            made.keys, made.values = layer.keys, layer.values
            made.index = made.index.to(layer.keys.device)  # type: ignore[union-attr]
        return made

    def arrive(
        self, index: Int[Tensor, "*batch arriving"], seen: int, keep: Bool[Tensor, "seen"] | None
    ) -> Int[Tensor, "..."]:
        """Announce the tokens of the next update; returns the tokens of all entries as attention will see them.

        ``seen`` tokens will have been seen then; of them, the layer goes on holding those with ``keep``.
        """
        held = self.index.to(index.device)
        if held.ndim < index.ndim:
            held = held.expand(len(index), -1)
        if index.ndim < held.ndim:
            index = index.expand(len(held), -1)
        entries = torch.cat([held, index], dim=-1)
        self._next = (entries, seen, keep)
        return entries

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add entries and return all; what is to be forgotten goes afterwards."""
        if self._next is None:
            raise ValueError(
                "this cache was made under a layer rule; go on with it under the same rule: "
                "with applied(model, rule, layout): ..."
            )
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        (self.index, self.seen, keep), self._next = self._next, None
        if keep is not None:
            hold = keep[self.index.clamp(min=0)] & (self.index >= 0)
            hold = hold if hold.ndim == 1 else hold.any(0)
            self.index = self.index[..., hold]
            self.keys, self.values = keys[:, :, hold], values[:, :, hold]
        return keys, values

    def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
        """The number of tokens seen."""
        return self.seen

    def get_mask_sizes(self, query_length: Any, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Masks are made over all tokens; the entries' columns are taken out of them."""
        queries = query_length if isinstance(query_length, int) else len(query_length)
        return self.seen + queries, 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Rows in another order, as beam search wants."""
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        if self.index.ndim == 2:
            self.index = self.index[beam_idx.to(self.index.device)]

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row several times."""
        super().batch_repeat_interleave(repeats)
        if self.index.ndim == 2:
            self.index = self.index.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Some rows."""
        super().batch_select_indices(indices)
        if self.index.ndim == 2:
            self.index = self.index[indices]

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.index, self.seen, self._next = self.index.new_zeros(0), 0, None

    def crop(self, *args: Any, **kwargs: Any) -> None:
        """ValueError: what was dropped does not come back (assisted decoding needs that)."""
        raise ValueError(
            "the cache of a rule that drops tokens cannot be shortened; generate without an assistant"
        )

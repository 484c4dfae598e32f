"""The parts of AlignGPT: level embeddings, the gate that mixes them, and one more token in a padded batch.

Zhao et al., "AlignGPT: Multi-modal Large Language Models with Adaptive Alignment Capability" (arXiv 2405.14129):

    r_p = V_p · t,   α = softmax(MLP(r)),   h = Σ_{i<N−1} α_i H_i + H_{N−1}

with the visual tokens V behind the connector, the mean t of the instruction's word embeddings, and one row of H for
each level of alignment. The last row, of the best aligned pairs, is shared by all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

WIDTH = 256
"""Of the gate's hidden layer."""


class AlignmentIndicators(nn.Module):
    """One embedding for each level of alignment: ``weight`` ``(levels, hidden)``, Xavier-uniform at first.

    ValueError for fewer than two levels.
    """

    def __init__(self, n_levels: int, hidden_size: int) -> None:
        super().__init__()
        if n_levels < 2:
            raise ValueError(f"n_levels is {n_levels}; alignment needs 2 or more levels")
        self.weight = nn.Parameter(torch.empty(n_levels, hidden_size))
        nn.init.xavier_uniform_(self.weight)

    @property
    def n_levels(self) -> int:
        """How many there are."""
        return len(self.weight)

    def select(self, ids: Int[Tensor, "batch"]) -> Float[Tensor, "batch hidden"]:
        """The embeddings of levels. ValueError for one that is not there."""
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.n_levels:
            raise ValueError(
                f"alignment levels go from 0 to {self.n_levels - 1}; got {int(ids.min())} to {int(ids.max())}"
            )
        return F.embedding(ids, self.weight)

    def mix(self, weights: Float[Tensor, "batch local"]) -> Float[Tensor, "batch hidden"]:
        """The weighted sum of all rows but the last, plus the last."""
        return weights.to(self.weight.dtype) @ self.weight[:-1] + self.weight[-1]


class AlignmentGate(nn.Module):
    """How much each level but the last counts for a picture and an instruction: sums to 1.

    ``n_image_tokens`` fixes the first layer. With ``resample`` pictures of another number of tokens are taken, too:
    their similarities are averaged to so many cells; without it they are refused.
    """

    def __init__(self, n_image_tokens: int, n_local: int, resample: bool = False) -> None:
        super().__init__()
        self.n_image_tokens = n_image_tokens
        self.resample = resample
        self.up = nn.Linear(n_image_tokens, WIDTH)
        self.down = nn.Linear(WIDTH, n_local)

    def forward(
        self,
        image_tokens: Float[Tensor, "batch count hidden"],
        text_embeds: Float[Tensor, "batch tokens hidden"],
        text_mask: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch local"]:
        """The weights of a batch. ValueError for a row without text, or with another number of visual tokens."""
        return self.ragged(list(image_tokens), text_embeds, text_mask)

    def ragged(
        self,
        image_tokens: Sequence[Float[Tensor, "_ hidden"]],
        text_embeds: Float[Tensor, "batch tokens hidden"],
        text_mask: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch local"]:
        """As ``forward``, each row's visual tokens by themselves."""
        counts = text_mask.sum(-1)
        if not bool(counts.all()):
            row = int((counts == 0).nonzero()[0])
            raise ValueError(
                f"row {row} has a picture and no text besides; an instruction is needed to weigh levels"
            )
        summed = (text_embeds.float() * text_mask[..., None]).sum(1)
        mean = summed / counts[:, None]
        alike = torch.stack(
            [self._fitting(own.float() @ t) for own, t in zip(image_tokens, mean, strict=True)]
        )
        return self.down(F.gelu(self.up(alike.to(self.up.weight.dtype)))).float().softmax(-1)

    def _fitting(self, alike: Float[Tensor, "count"]) -> Float[Tensor, "image_tokens"]:
        if len(alike) == self.n_image_tokens:
            return alike
        if not self.resample:
            raise ValueError(
                f"a record has {len(alike)} visual tokens, the gate was built for {self.n_image_tokens}; set "
                "image_tokens to what pictures cost here, or resample: true for pictures of several sizes"
            )
        return F.adaptive_avg_pool1d(alike[None], self.n_image_tokens)[0]


@dataclass(frozen=True)
class Insertion:
    """One more token in some rows of a batch; the other rows get padding at their end.

    ``place`` ``(batch,)``: where it stands in the widened row; ``rows`` ``(batch,)``: which rows have it; ``leads``:
    whether it is the first token of its row.
    """

    place: Int[Tensor, "batch"]
    rows: Bool[Tensor, "batch"]
    leads: bool = False

    @classmethod
    def behind(cls, mask: Tensor, rows: Bool[Tensor, "batch"], position: int = 1) -> Insertion:
        """``position`` tokens behind the first one that is present in ``mask`` ``(batch, tokens)``.

        ValueError for a row that has not so many.
        """
        present = mask.bool()
        place = present.long().argmax(-1) + position
        short = rows & (present.sum(-1) < position)
        if bool(short.any()):
            row = int(short.nonzero()[0])
            raise ValueError(
                f"row {row} has {int(present[row].sum())} tokens; the new one goes behind {position}"
            )
        return cls(torch.where(rows, place, mask.shape[1]), rows, position == 0)

    def widen(self, values: Tensor, new: Tensor) -> Tensor:
        """``values`` ``(batch, tokens, …)`` with ``new`` ``(batch, …)`` at the places: ``(batch, tokens + 1, …)``."""
        batch, tokens = values.shape[:2]
        at = torch.arange(tokens + 1, device=values.device)
        place = self.place[:, None]
        source = torch.where(at < place, at, torch.where(at == place, tokens, at - 1))
        together = torch.cat([values, new[:, None].to(values.dtype)], dim=1)
        return together[torch.arange(batch, device=values.device)[:, None], source]

    def narrow(self, values: Tensor) -> Tensor:
        """What was computed for a widened batch, in the places of the batch as it came.

        The token in front of the new one gives its place to it: what follows it now follows the new one.
        """
        batch, tokens = values.shape[0], values.shape[1] - 1
        at = torch.arange(tokens, device=values.device)
        source = torch.where(at >= self.place[:, None] - 1, at + 1, at)
        source = torch.where(self.rows[:, None], source, at)
        return values[torch.arange(batch, device=values.device)[:, None], source]

    def mask(self, mask: Tensor) -> Tensor:
        """An attention mask ``(batch, tokens)`` widened: present where a row has the token."""
        return self.widen(mask, self.rows)

    def positions(self, positions: Tensor) -> Tensor:
        """Positions ``(…, batch, tokens)`` widened: the new token counts on, and what follows counts one more."""
        if positions.ndim == 3:
            return torch.stack([self.positions(axis) for axis in positions])
        positions = positions.expand(len(self.place), -1)
        every = torch.arange(len(positions), device=positions.device)
        beside = self.place if self.leads else self.place - 1
        before = positions[every, beside.clamp(0, positions.shape[1] - 1)] + (not self.leads)
        wide = self.widen(positions, before)
        later = torch.arange(wide.shape[1], device=wide.device) > self.place[:, None]
        return wide + (later & self.rows[:, None]).long()

    def expanded(self, batch: int) -> Insertion:
        """The same for rows that were repeated to ``batch``."""
        times = batch // len(self.place)
        return self if times == 1 else self.take(torch.arange(len(self.place)).repeat_interleave(times))

    def take(self, rows: Tensor) -> Insertion:
        """That of some rows, by index."""
        rows = rows.to(self.place.device)
        return Insertion(self.place[rows], self.rows[rows], self.leads)


def insert_prefix_token(
    embeds: Float[Tensor, "batch tokens hidden"],
    mask: Int[Tensor, "batch tokens"],
    labels: Int[Tensor, "batch tokens"] | None,
    token: Float[Tensor, "batch hidden"],
    position: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Embeddings, mask and labels with ``token`` behind the first ``position`` tokens of each row.

    Its mask is 1 and its label −100, whichever side is padded. For any causal language model that takes
    ``inputs_embeds``; the surgery *aligngpt* does the same inside a model.
    """
    rows = torch.ones(len(embeds), dtype=torch.bool, device=embeds.device)
    inserted = Insertion.behind(mask, rows, position)
    ignored = torch.full((len(embeds),), -100, device=embeds.device)
    wide = None if labels is None else inserted.widen(labels, ignored)
    return inserted.widen(embeds, token), inserted.mask(mask), wide

"""Many tokens → one vector: what stands between an encoder and the space that pictures and texts share.

``mean``: of the tokens that are there; sentence encoders such as MiniLM were trained so (Reimers and Gurevych,
"Sentence-BERT", arXiv 1908.10084). ``attention``: a learned probe asks the tokens, as the head of SigLIP does
(Zhai et al., arXiv 2303.15343, after the Set Transformer's pooling by multi-head attention). Deviation: tokens are
first projected to the width of the shared space, which is far narrower than a convolutional tower's, and get their
place (row and column as shares of the grid) added, since such a tower hardly tells where it looks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitrail.models.features import Features


def masked_mean(
    tokens: Float[Tensor, "batch tokens dim"], present: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch dim"]:
    """The mean of the tokens that are there; zero where none is."""
    kept = present.unsqueeze(-1).to(tokens.dtype)
    return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1)


def mean_of_items(features: Features) -> Float[Tensor, "items dim"]:
    """The mean of each item's tokens."""
    padded, present = padded_items(features.tokens, features.lengths.tolist())
    return masked_mean(padded, present)


def padded_items(
    tokens: Float[Tensor, "total dim"], lengths: list[int]
) -> tuple[Float[Tensor, "items count dim"], Bool[Tensor, "items count"]]:
    """Ragged tokens as rows of equal length, and which of them are there."""
    longest = max(lengths, default=0)
    if all(length == longest for length in lengths):  # no copy where nothing is ragged
        shape = (len(lengths), longest)
        return tokens.reshape(*shape, -1), torch.ones(shape, dtype=torch.bool, device=tokens.device)
    padded = nn.utils.rnn.pad_sequence(list(tokens.split(lengths)), batch_first=True)
    places = torch.arange(longest, device=tokens.device)
    return padded, places < torch.tensor(lengths, device=tokens.device)[:, None]


class AttentionPool(nn.Module):
    """``width`` → ``dim``: one probe attends over an item's tokens, a small MLP follows.

    Takes :class:`~vitrail.models.features.Features` and gives ``(items, dim)``. ValueError if ``heads`` does not
    divide ``dim``.
    """

    def __init__(self, width: int, dim: int, heads: int = 8) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"projection_dim is {dim}; {heads} attention heads need a multiple of {heads}")
        self.heads = heads
        self.enter = nn.Linear(width, dim)
        self.place = nn.Sequential(nn.Linear(2, dim), nn.GELU(), nn.Linear(dim, dim))
        self.norm = nn.LayerNorm(dim)
        self.probe = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.leave = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.final = nn.Linear(dim, dim, bias=False)

    def forward(self, features: Features) -> Float[Tensor, "items dim"]:
        """One vector an item."""
        lengths = features.lengths.tolist()
        x = self.enter(features.tokens)
        coords, present = padded_items(features.coords[:, 1:].to(x.dtype), lengths)
        x, _ = padded_items(x, lengths)
        extent = coords.amax(1, keepdim=True).clamp(min=1)
        x = self.norm(x + self.place(2 * coords / extent - 1))
        items, count, dim = x.shape
        k, v = (
            self.key_value(x).reshape(items, count, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        )
        q = self.probe.reshape(1, self.heads, 1, -1).expand(items, -1, -1, -1)
        pooled = F.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None])
        y = self.leave(pooled.reshape(items, dim))
        return self.final(y + self.mlp(y))

"""The Perceiver Resampler: learned latents look at a picture, so that any number of patches costs as many tokens.

Alayrac et al., "Flamingo" (arXiv 2204.14198), as InfiMM-WebMath (arXiv 2409.12568) uses it, with 3 layers and 64
latents. In each layer latents z attend to the features and to themselves, then comes a feed-forward part:

    z ← z + Attention(q = LN(z), k = v = [LN(x) ; LN(z)]),   z ← z + FFN(z)

Without positions in x the order of the patches has no say; a tower with positional embeddings brings its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vitrail.models.connectors.connector import Connector
from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, head_dim: int, multiple: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.norm_features, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, multiple * width),
            nn.GELU(),
            nn.Linear(multiple * width, width),
        )

    def forward(
        self,
        latents: Float[Tensor, "items latents dim"],
        features: Float[Tensor, "items patches dim"],
        seen: Bool[Tensor, "items 1 1 keys"],
    ) -> Float[Tensor, "items latents dim"]:
        z = self.norm_latents(latents)
        keys, values = self.key_value(torch.cat([self.norm_features(features), z], dim=1)).chunk(2, dim=-1)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(z), keys, values)
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        latents = latents + self.out(attended.transpose(1, 2).flatten(2))
        return latents + self.feed_forward(latents)


class PerceiverResampler(Connector):
    """``latents`` tokens for each picture, whatever its size."""

    class Config(ComponentConfig):
        """``latents``: tokens of a picture; ``depth``: layers; ``heads`` of ``head_dim`` each; ``multiple``: the width
        between the two layers of a feed-forward part, in widths of the tower.
        """

        latents: int = Field(default=64, gt=0)
        depth: int = Field(default=3, gt=0)
        heads: int = Field(default=8, gt=0)
        head_dim: int = Field(default=64, gt=0)
        multiple: int = Field(default=4, gt=0)

    def __init__(self, config: Config, tower_width: int, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.empty(config.latents, tower_width))
        self.layers = nn.ModuleList(
            _Layer(tower_width, config.heads, config.head_dim, config.multiple) for _ in range(config.depth)
        )
        self.norm, self.project = nn.LayerNorm(tower_width), nn.Linear(tower_width, hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """What no layer of it resets: the latents, from N(0, 1)."""
        nn.init.normal_(self.latents)

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """One row of the latents, whatever comes in."""
        return 1, self.config.latents

    def forward(self, features: Features) -> tuple[Float[Tensor, "total hidden"], Int[Tensor, "items"]]:
        """Flat tokens, and as many as there are latents for each picture."""
        items, count = len(features.lengths), self.config.latents
        padded = pad_sequence(list(features.tokens.split(features.lengths.tolist())), batch_first=True)
        places = torch.arange(padded.shape[1], device=padded.device)
        seen = F.pad(places < features.lengths.to(padded.device)[:, None], (0, count), value=True)[
            :, None, None
        ]
        latents = self.latents.to(padded.dtype).expand(items, -1, -1)
        for layer in self.layers:
            latents = layer(latents, padded, seen)
        tokens = self.project(self.norm(latents)).flatten(0, 1)
        return tokens, torch.full_like(features.lengths, count)

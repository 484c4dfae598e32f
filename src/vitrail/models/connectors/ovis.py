"""Ovis: visual tokens as mixtures of the rows of a learned visual embedding table.

Lu et al., "Ovis: Structural Embedding Alignment for Multimodal Large Language Model" (arXiv 2405.20797). A text token
enters by a row of a table; here a patch does too. The tower's token r (a block of s × s neighbours side by side)
becomes a distribution over K' visual words, and its embedding is the expectation of their rows:

    p = softmax(LayerNorm(W r)),   v = p E = Σ_k p_k E_k

The last rows of E are reserved for *begin* and *end* of a picture (and of a video), which stand around its tokens.

The layer norm is in every released version and not in the paper's formula. The softmax runs in float32. Deviations, all
settings: pooling in front of the head; ``topk``, which keeps the k likeliest words of a token and normalises over them
(exact for k = K'); noise of the Gumbel variant while training only, so that an answer does not depend on chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitrail.models.connectors.connector import Connector
from vitrail.models.connectors.grids import grouped, grouped_shape, pooled
from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig

Tokenise = Literal["softmax", "st_argmax", "gumbel"]

STAGES: tuple[tuple[str, ...], ...] = (
    ("connector", "tower.blocks[-1:]"),
    ("connector", "tower"),
    ("connector", "tower", "language"),
)
"""What trains in the paper's three stages, by anatomy: captions, descriptions, instructions. Before the first one the
tower's last block is drawn anew (surgery ``reinitialise``)."""


class VisualEmbeddingTable(nn.Embedding):
    """The visual words' embeddings ``(words, hidden)``: by index as any embedding, or mixed by distributions."""

    def forward(self, words: Tensor) -> Tensor:
        """Rows for integers ``(…)``; for float distributions ``(…, words)`` the expectation ``(…, hidden)``.

        ValueError for an index that is not there, distributions over another number of words, and ones that are all
        zero or not finite.
        """
        if not words.is_floating_point():
            if words.numel() and not 0 <= int(words.min()) <= int(words.max()) < self.num_embeddings:
                raise ValueError(
                    f"visual words go from 0 to {self.num_embeddings - 1}; got {int(words.min())} to {int(words.max())}"
                )
            return super().forward(words)
        if words.shape[-1] != self.num_embeddings:
            raise ValueError(
                f"distributions over {words.shape[-1]} visual words for a table of {self.num_embeddings}; "
                "their last dimension is the table's number of rows"
            )
        total = words.sum(-1)
        if not bool((torch.isfinite(total) & (total != 0)).all()):
            raise ValueError(
                "a distribution over visual words is all zero or not finite; look at the features"
            )
        return words.to(self.weight.dtype) @ self.weight

    @torch.no_grad()
    def reset_like(self, embeddings: nn.Embedding) -> None:
        """Draw every entry from a normal distribution with mean and deviation of another table as a whole."""
        given = embeddings.weight.float()
        nn.init.normal_(self.weight, mean=float(given.mean()), std=float(given.std()))


class OvisConnector(Connector):
    """Head, softmax and table: a picture becomes ``begin``, one token for each block of its grid, ``end``."""

    class Config(ComponentConfig):
        """``words``: rows of the table, reserved ones included (the paper: 131072, later 65536); ``stride``: blocks of
        ``stride × stride`` tower tokens become one; ``pool``: side of a grid averaged to before that (None: none);
        ``tokenise``: softmax, straight-through argmax, or hard Gumbel softmax of temperature ``tau``; ``reserved``:
        rows for begin and end of a picture (2), of a video too (4), or none; ``topk``: words a token may mix (None:
        all); ``chunk``: tokens whose distributions are in memory at once (None: all).
        """

        words: int = Field(default=4096, gt=1)
        stride: int = Field(default=1, gt=0)
        pool: int | None = Field(default=None, gt=0)
        tokenise: Tokenise = "softmax"
        tau: float = Field(default=1.0, gt=0)
        reserved: Literal[0, 2, 4] = 2
        topk: int | None = Field(default=None, gt=0)
        chunk: int | None = Field(default=None, gt=0)

        @model_validator(mode="after")
        def _possible(self) -> OvisConnector.Config:
            free = self.words - self.reserved
            if free < 2:
                raise ValueError(
                    f"words is {self.words}, of which {self.reserved} are reserved; a picture needs 2 or more words"
                )
            if self.tau != 1.0 and self.tokenise != "gumbel":
                raise ValueError(
                    f"tau has no effect with tokenise={self.tokenise!r}; use gumbel, or remove it"
                )
            if self.topk is not None and self.tokenise != "softmax":
                raise ValueError(f"topk has no effect with tokenise={self.tokenise!r}; remove it")
            if self.topk is not None and self.topk > free:
                raise ValueError(f"topk is {self.topk}, but a picture has {free} words; lower it")
            return self

    def __init__(self, config: Config, tower_width: int, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = config.words - config.reserved
        self.head = nn.Linear(tower_width * config.stride**2, self.vocabulary, bias=False)
        self.head_norm = nn.LayerNorm(self.vocabulary)
        self.table = VisualEmbeddingTable(config.words, hidden_size)
        nn.init.normal_(self.table.weight, std=0.02)

    @property
    def around(self) -> tuple[int, int]:
        """Begin and end, where rows are reserved for them."""
        return (1, 1) if self.config.reserved else (0, 0)

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """The grid of blocks. ValueError if the tower's grid is not made of whole ones."""
        side = self.config.pool
        return grouped_shape(*((rows, cols) if side is None else (side, side)), self.config.stride)

    def reset_like(self, embeddings: nn.Embedding) -> None:
        """Draw the table like the language model's words. ValueError if its width is another."""
        if embeddings.weight.shape[-1] != self.table.embedding_dim:
            raise ValueError(
                f"the language model's embeddings are {embeddings.weight.shape[-1]} wide, the visual table "
                f"{self.table.embedding_dim}; build the connector with the language model's hidden_size"
            )
        self.table.reset_like(embeddings)

    def distributions(self, features: Features) -> Float[Tensor, "total words"]:
        """What each token means: float32, one row a token; reserved words are left out (their share is zero)."""
        return self._tokenised(self._logits(self._blocks(features).tokens))

    def forward(self, features: Features) -> tuple[Float[Tensor, "total hidden"], Int[Tensor, "items"]]:
        """Flat tokens, and how many belong to each item: begin, the grid in raster order, end."""
        blocks = self._blocks(features)
        mixed = self._mixed(blocks.tokens)
        if not self.config.reserved:
            return mixed, blocks.lengths
        video = features.kind == "video"
        if video and self.config.reserved < 4:
            raise ValueError("a video needs words of its own around it; set connector.reserved to 4")
        first = self.vocabulary + 2 * video
        begin, end = self.table.weight[first : first + 1], self.table.weight[first + 1 : first + 2]
        runs = mixed.split(blocks.lengths.tolist())
        tokens = [part for run in runs for part in (begin, run, end)]
        return torch.cat(tokens) if tokens else mixed, blocks.lengths + 2

    def _blocks(self, features: Features) -> Features:
        if self.config.pool is not None:
            features = pooled(features, self.config.pool)
        return grouped(features, self.config.stride)

    def _mixed(self, tokens: Float[Tensor, "total wide"]) -> Float[Tensor, "total hidden"]:
        size = self.config.chunk
        if size is None or len(tokens) <= size:
            return self._expected(tokens)
        parts = []
        for some in tokens.split(size):
            # The distributions are what takes the memory: they are computed again for the gradient.
            again = torch.is_grad_enabled()
            parts.append(
                checkpoint(self._expected, some, use_reentrant=False) if again else self._expected(some)
            )
        return torch.cat(parts)

    def _expected(self, tokens: Float[Tensor, "total wide"]) -> Float[Tensor, "total hidden"]:
        logits, table = self._logits(tokens), self.table.weight
        if self.config.topk is None:
            return self._tokenised(logits).to(table.dtype) @ table[: self.vocabulary]
        best, words = logits.float().topk(self.config.topk, dim=-1)
        shares = best.softmax(-1).to(table.dtype)
        return F.embedding_bag(words, table, per_sample_weights=shares, mode="sum")

    def _logits(self, tokens: Float[Tensor, "total wide"]) -> Float[Tensor, "total words"]:
        return self.head_norm(self.head(tokens))

    def _tokenised(self, logits: Float[Tensor, "total words"]) -> Float[Tensor, "total words"]:
        logits = logits.float()
        if self.config.tokenise == "softmax":
            shares = logits.softmax(-1)
            if self.config.topk is None:
                return shares
            best, words = logits.topk(self.config.topk, dim=-1)
            return torch.zeros_like(shares).scatter(-1, words, best.softmax(-1))
        if self.config.tokenise == "gumbel" and self.training:
            return F.gumbel_softmax(logits, tau=self.config.tau, hard=True)
        hard = F.one_hot(logits.argmax(-1), self.vocabulary).to(logits.dtype)
        return hard + (logits - logits.detach())


@dataclass(frozen=True)
class WordUse:
    """How a batch of tokens uses the visual words.

    ``entropy``: of a token's distribution, in nats, on average (log K' is a collapse into the mean row, 0 one into
    single rows). ``words_used``: exp of the entropy of the mean distribution. ``share_above``: the part of all
    probabilities above 1e-4 (the paper: 0.0022). ``dead``: the part of the words that no token gives more than 1e-4.
    """

    entropy: float
    words_used: float
    share_above: float
    dead: float


@torch.no_grad()
def word_use(distributions: Float[Tensor, "total words"]) -> WordUse:
    """The statistics of :meth:`OvisConnector.distributions`. ValueError without tokens."""
    if not len(distributions):
        raise ValueError("no token, so no distribution to describe; give features of at least one picture")
    shares = distributions.double()
    above = shares > 1e-4
    return WordUse(
        entropy=float(torch.special.entr(shares).sum(-1).mean()),
        words_used=float(torch.special.entr(shares.mean(0)).sum().exp()),
        share_above=float(above.double().mean()),
        dead=float((~above.any(0)).double().mean()),
    )

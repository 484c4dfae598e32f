"""Word alignment: visual tokens learn to look like the word embeddings of what they show, without the language model.

A picture i has visual tokens v_t, a text j has words with embeddings e_w (the language model's own input embeddings,
centred, since they share a large mean). Token-wise late interaction as in FILIP (Yao et al., "Fine-grained Interactive
Language-Image Pre-Training", arXiv 2111.07783), one word finding the one token that shows it:

    m(i, w) = max_t cos(v_t, e_w)          s(i, j) = Σ_w a_jw m(i, w)

where a_jw are the words of text j weighted by their rarity in the batch (log of pictures over texts with w),
normalised to one. Three terms:

- ``words``: −Σ_w a_iw log softmax_w(m(i, w)/τ), each picture against the words of the batch;
- ``pairs``: the symmetric contrastive loss on s(i, j)/τ over the batch;
- ``norm``: the relative distance of the tokens' length from that of the words, squared, so that the language
  model meets vectors of a size that it knows.

Only tower and connector run, so a step costs little, and with stored features next to nothing. Deviation from
FILIP: the text side is frozen, text tokens are not contextual, and the vocabulary term is added.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.logits import unwrapped
from vitrail.objectives.objective import Batch, Loss, Objective


class WordAlignment(Objective):
    """See the module. The words of a picture are the learnt tokens of its record (assistant turns).

    Records without a picture or without learnt words are left out of the contrast. The temperature trains.
    """

    class Config(BaseModel):
        """``temperature``: the first τ; ``pairs`` and ``norm``: weights of these terms beside ``words``."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        temperature: float = Field(default=0.07, gt=0)
        pairs: float = Field(default=1.0, ge=0)
        norm: float = Field(default=0.1, ge=0)

    terms = ("words", "pairs", "norm")
    decomposes = False
    needs_language_model = False

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / self.config.temperature)))

    def count(self, batch: Batch) -> int:
        """Records with a picture and learnt words."""
        return int(self._usable(batch).sum())

    @staticmethod
    def _usable(batch: Batch) -> Tensor:
        return batch["layout"].visual.any(1) & (batch["labels"] != -100).any(1)

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """The three terms, each a sum over the usable records. ValueError if fewer than two are usable."""
        usable = self._usable(batch)
        if int(usable.sum()) < 2:
            raise ValueError(
                "word alignment contrasts pictures with each other: the batch holds fewer than two records with a "
                "picture and a text; raise batch_size"
            )
        pictures = {name: batch[name] for name in ("pixel_values", "vision_features") if name in batch}
        visual = model(**pictures).image_hidden_states
        per_row = batch["layout"].visual.sum(1)
        table, special = self._word_table(model)
        mean = table.mean(0)
        vocabulary, weights = word_weights(batch["labels"][usable], special)
        words = table[vocabulary] - mean
        tokens = visual.float() - mean
        similarity = best_match(tokens, per_row, words)[usable]
        scale = self.log_scale.exp().clamp(max=100.0)
        count = int(usable.sum())
        bag = -(weights * F.log_softmax(similarity * scale, dim=-1)).sum()
        scores = similarity @ weights.T * scale
        own = torch.arange(count, device=scores.device)
        pairs = (
            F.cross_entropy(scores, own, reduction="sum") + F.cross_entropy(scores.T, own, reduction="sum")
        ) / 2
        usual = words.norm(dim=-1).mean()
        norm = (tokens.norm(dim=-1) / usual - 1).square().mean() * count
        return Loss(
            sums={"words": bag, "pairs": pairs, "norm": norm},
            counts=dict.fromkeys(self.terms, count),
            weights={"pairs": self.config.pairs, "norm": self.config.norm},
        )

    @staticmethod
    @torch.no_grad()
    def _word_table(model: nn.Module) -> tuple[Tensor, int]:
        """The word embeddings, detached, and the id of the token that ends a turn (it is no word)."""
        inner: Any = unwrapped(model)
        table = inner.get_input_embeddings().weight.detach().float()
        end = inner.generation_config.eos_token_id if inner.generation_config is not None else None
        end = end[0] if isinstance(end, list) else end
        return table, -1 if end is None else int(end)


def word_weights(
    labels: Int[Tensor, "rows tokens"], special: int
) -> tuple[Int[Tensor, "vocabulary"], Float[Tensor, "rows vocabulary"]]:
    """The different words of a batch, and for each row the share of each, rarer ones more.

    ``labels`` is −100 where there is no word; ``special`` is left out too. A word that every row has weighs nothing. A
    row whose words all weigh nothing has a uniform share over its words.
    """
    present = (labels != -100) & (labels != special)
    vocabulary = torch.unique(labels[present])
    rows = torch.arange(len(labels), device=labels.device)[:, None].expand_as(labels)[present]
    has = torch.zeros(len(labels), len(vocabulary), device=labels.device)
    has[rows, torch.searchsorted(vocabulary, labels[present])] = 1.0
    rarity = torch.log(len(labels) / has.sum(0))
    weighted = has * rarity
    weighted = torch.where(weighted.sum(1, keepdim=True) > 0, weighted, has)
    return vocabulary, weighted / weighted.sum(1, keepdim=True).clamp(min=1.0e-9)


def best_match(
    tokens: Float[Tensor, "total hidden"],
    per_row: Int[Tensor, "rows"],
    words: Float[Tensor, "vocabulary hidden"],
) -> Float[Tensor, "rows vocabulary"]:
    """For each row and word the highest cosine over the row's tokens (tokens of row 0 first); −1 for a row without."""
    cosine = F.normalize(tokens, dim=-1) @ F.normalize(words, dim=-1).T
    row = torch.repeat_interleave(torch.arange(len(per_row), device=tokens.device), per_row)
    lowest = torch.full((len(per_row), len(words)), -1.0, dtype=cosine.dtype, device=cosine.device)
    return lowest.scatter_reduce(0, row[:, None].expand_as(cosine), cosine, reduce="amax", include_self=True)

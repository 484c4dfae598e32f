"""Masked-token prediction: some tokens are hidden, and the encoder says what they were (BERT, Devlin et al. 2019).

``L = −Σ_{t in M} log p(x_t | x with M hidden)``, M being drawn anew for every row and step: here so many of a row's
tokens as its budget says, anywhere but at special tokens. On pairs of translations this is the translation language
modelling of XLM (Lample and Conneau 2019). Of the chosen tokens 80 % become the mask, 10 % another token, 10 % stay.

What is drawn follows from the row's text, the number of the step and the ``seed`` alone, so that neither the other rows
of a batch, nor how a step is divided, nor a restart changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from vitrail.models.logits import logits_at
from vitrail.models.sentences import SENTENCE, SPECIAL
from vitrail.objectives.objective import Batch, Loss, Objective

IGNORED = -100
_ARGUMENTS = ("attention_mask", "token_type_ids")


class Masked(Objective):
    """Cross-entropy at hidden tokens of a masked encoder, in nats; the mean is over these tokens."""

    class Config(BaseModel):
        """``budget``: the share of a row's tokens (special ones do not count) that are predicted, one at least.

        ``corruption``: the shares of these that become the mask, become another token, and stay. ``seed``: of the
        draws.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")
        budget: float = Field(default=0.15, gt=0, le=1)
        corruption: tuple[float, float, float] = (0.8, 0.1, 0.1)
        seed: int = Field(default=0, ge=0)

        @field_validator("corruption")
        @classmethod
        def _shares(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
            if min(value) < 0 or abs(sum(value) - 1) > 1e-6:
                raise ValueError(f"the shares are {value}; give three of 0 or more that add up to 1")
            return value

    terms: tuple[str, ...] = ("masked",)
    takes_packed = False
    reads = "encoder"

    def __init__(self, config: Config | None = None, *, tokenizer: Any) -> None:
        super().__init__()
        self.config: Any = config if config is not None else self.Config()
        if tokenizer.mask_token_id is None:
            raise ValueError(
                "the tokenizer has no token for masks (mask_token), so the model is no masked encoder; "
                "use the objective next_token, or a BERT, XLM-R or ModernBERT"
            )
        self.mask_token_id = int(tokenizer.mask_token_id)
        special = set(tokenizer.all_special_ids)
        self._others = np.array([one for one in range(len(tokenizer)) if one not in special])
        self.step = 0

    def at(self, step: int, steps: int) -> None:
        """Masks are drawn anew in each step."""
        self.step = step

    def count(self, batch: Batch) -> int:
        """Tokens that are predicted in this batch and step."""
        return int((self.views(batch)[1] != IGNORED).sum())

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """The sum over hidden tokens; zero, with a gradient of zeros, where a batch has none."""
        ids, labels = self.views(batch)
        keep = labels != IGNORED
        inputs = {name: batch[name] for name in _ARGUMENTS if name in batch}
        logits = logits_at(model, keep, input_ids=ids, **inputs).logits.float()
        loss = F.cross_entropy(logits, labels[keep], reduction="sum")
        return Loss({self.terms[0]: loss}, {self.terms[0]: int(keep.sum())})

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """``(input_ids, labels)`` of this step, both (batch, tokens); labels are −100 where nothing is predicted.

        ValueError for a batch that is not one of sentences.
        """
        if SPECIAL not in batch:
            raise ValueError(
                f"the objective {self.terms[0]!r} hides tokens of a masked encoder's sentences, and this model reads "
                "chats; use next_token, or a BERT, XLM-R or ModernBERT"
            )
        before = batch["input_ids"].cpu().numpy()
        special, keys = batch[SPECIAL].cpu().numpy(), batch[SENTENCE].cpu().numpy()
        ids, labels = before.copy(), np.full_like(before, IGNORED)
        for row in range(len(before)):
            rng = self._rng(int(keys[row]))
            chosen = np.asarray(self.choose(batch, row, np.flatnonzero(~special[row]), rng), dtype=np.int64)
            labels[row, chosen] = before[row, chosen]
            ids[row, chosen] = self._corrupted(before[row, chosen], rng)
        device = batch["input_ids"].device
        return torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device)

    def choose(
        self, batch: Batch, row: int, places: np.ndarray, rng: np.random.Generator
    ) -> Sequence[int] | np.ndarray:
        """Which of a row's ``places`` (tokens that are not special) are predicted."""
        return rng.choice(places, self.allowed(len(places)), replace=False) if len(places) else places

    def allowed(self, tokens: int) -> int:
        """How many of so many tokens are predicted: the budget, and one at least."""
        return min(tokens, max(1, round(self.config.budget * tokens)))

    def _rng(self, key: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox([self.config.seed, self.step, key % 2**63, key < 0]))

    def _corrupted(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What stands in place of the chosen tokens."""
        masked, changed, _ = self.config.corruption
        drawn, other = rng.random(len(ids)), rng.choice(self._others, len(ids))
        return np.where(drawn < masked, self.mask_token_id, np.where(drawn < masked + changed, other, ids))

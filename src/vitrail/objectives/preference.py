"""Preference learning without a reward model: DPO.

Rafailov et al., "Direct Preference Optimization" (arXiv 2305.18290), as RLAIF-V (arXiv 2405.17220) uses it. With the
log-probability of a whole answer, ``log π(y) = Σ_t log π(y_t | x, y_<t)`` over its tokens, not divided by its length:

    L = −log σ( β [ (log π(c) − log π(r)) − (log π_ref(c) − log π_ref(r)) ] )  +  w · (−log π(c))

c is the chosen and r the rejected answer to one prompt x; w = 0 leaves the second term out; ``average`` divides each
log-probability by the answer's tokens. Rewards are ``β (log π − log π_ref)`` of one answer, and logged.

**The reference** is the model as it was when the stage began (nothing to set, and only the weights that train are kept
twice); a ``teacher``; or what was stored with the records (``stored: true``,
:func:`vitrail.inference.sequences.precompute_reference`).

**Why not TRL's DPOTrainer**: its sigmoid loss is these four numbers, and a test holds both to the same values; but its
trainer brings a data path, a collator, and processors of its own for pictures. Here a preference goes through the
house's records, encoder and collator, so that every family, surgery, mixture and resume that other stages have, this
has, and it can stand beside other objectives. Who wants TRL's further losses exports the pairs
(``vitrail data convert --to trl``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.inference.sequences import answer_tokens, row_sums
from vitrail.models.preferences import REFERENCE_ROWS, ROWS
from vitrail.objectives.distilled import Distilled
from vitrail.objectives.forward import Batch, Needs, Seen
from vitrail.objectives.objective import Loss
from vitrail.objectives.starting import Start
from vitrail.objectives.teacher import NamedTeacher, Teacher


class DpoLoss(NamedTuple):
    """Of each pair: the loss, and the rewards of its two answers (without gradients)."""

    losses: Float[Tensor, "pairs"]
    chosen_rewards: Float[Tensor, "pairs"]
    rejected_rewards: Float[Tensor, "pairs"]


def dpo_loss(
    policy_chosen: Float[Tensor, "pairs"],
    policy_rejected: Float[Tensor, "pairs"],
    reference_chosen: Float[Tensor, "pairs"],
    reference_rejected: Float[Tensor, "pairs"],
    beta: float = 0.1,
) -> DpoLoss:
    """DPO's loss of log-probabilities of whole answers (nats).

    ValueError for ``beta`` of 0 or less, or for values that are not finite.
    """
    if not beta > 0:
        raise ValueError(f"beta is {beta}; give a number above 0 (0.1 is usual)")
    given = {
        "policy_chosen": policy_chosen,
        "policy_rejected": policy_rejected,
        "reference_chosen": reference_chosen,
        "reference_rejected": reference_rejected,
    }
    for name, value in given.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{name} has log-probabilities that are not finite; look at that model's weights"
            )
    chosen = policy_chosen - reference_chosen
    rejected = policy_rejected - reference_rejected
    return DpoLoss(
        -F.logsigmoid(beta * (chosen - rejected)), beta * chosen.detach(), beta * rejected.detach()
    )


class DPO(Distilled):
    """See the module. Terms: ``dpo`` (nats a pair), ``dpo_sft`` where it has a weight, and logged alone
    ``dpo_chosen_reward``, ``dpo_rejected_reward`` and ``dpo_accuracy`` (pairs whose chosen answer has the higher
    reward). The unit is the pair.
    """

    preferences = True
    """A stage with this objective reads its records as preferences."""

    class Config(BaseModel):
        """``beta``: how far the model may go from the reference (larger: less far). ``sft_weight``: of the chosen
        answers' own negative log-likelihood. ``average``: log-probabilities a token instead of an answer.
        ``teacher``: the reference, where it is not the model as it begins; ``stored``: the reference stands in the
        records' ``meta.reference_logps``.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")
        beta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
        sft_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
        average: bool = False
        teacher: NamedTeacher | None = None
        stored: bool = False

    def __init__(
        self, config: Config | None = None, model: nn.Module | None = None, teacher: Teacher | None = None
    ) -> None:
        super().__init__(teacher)
        self.config = config if config is not None else self.Config()
        if self.config.teacher is not None and teacher is None:
            raise ValueError("dpo: 'teacher' is set, but no teacher was given; build it with teacher=")
        own = teacher is None and not self.config.stored
        if own and model is None:
            raise ValueError("dpo: without a reference; give model= (its start), teacher=, or stored: true")
        self._start = Start(model) if own and model is not None else None
        sft = ("dpo_sft",) if self.config.sft_weight else ()
        self.terms = ("dpo", *sft, "dpo_chosen_reward", "dpo_rejected_reward", "dpo_accuracy")

    @classmethod
    def check(cls, config: Config, stage: Any) -> None:
        """ValueError where two references are named, or where rows would hold several records."""
        if config.stored and config.teacher is not None:
            raise ValueError("objective dpo: 'stored' and 'teacher' both name the reference; remove one")
        if getattr(stage, "packing", None) is not None:
            raise ValueError("objective dpo: a row is one answer, so rows cannot be packed; remove 'packing'")

    def count(self, batch: Batch) -> int:
        """Pairs. ValueError for a batch that holds no preferences."""
        rows = batch.get(ROWS)
        if rows is None:
            raise ValueError(
                "objective dpo: the batch holds no preferences; each record needs a rejected answer ('rejected')"
            )
        return len(rows) // 2

    def needs(self, batch: Batch) -> Needs:
        """Logits in front of the answers' tokens."""
        return Needs(logits=F.pad(answer_tokens(batch), (0, 1)), in_chunks=True)

    def read(self, seen: Seen, batch: Batch, noted: Any) -> Loss:
        """Sums over pairs."""
        pairs = self.count(batch)
        policy = self._logps(seen, batch)
        reference = self._reference(seen.model, batch).to(policy)
        found = dpo_loss(policy[0::2], policy[1::2], reference[0::2], reference[1::2], self.config.beta)
        sums = {
            "dpo": found.losses.sum(),
            "dpo_chosen_reward": found.chosen_rewards.sum(),
            "dpo_rejected_reward": found.rejected_rewards.sum(),
            "dpo_accuracy": (found.chosen_rewards > found.rejected_rewards).float().sum(),
        }
        weights = {term: 0.0 for term in sums if term != "dpo"}
        if self.config.sft_weight:
            sums["dpo_sft"] = -policy[0::2].sum()
            weights["dpo_sft"] = self.config.sft_weight
        return Loss({term: sums[term] for term in self.terms}, dict.fromkeys(self.terms, pairs), weights)

    def _logps(self, seen: Seen, batch: Batch) -> Float[Tensor, "rows"]:
        learnt = answer_tokens(batch)
        at, targets = F.pad(learnt, (0, 1)), batch["labels"][:, 1:][learnt]
        head = seen.head(at)
        if head is None:
            per_token = -F.cross_entropy(seen.logits(at).float(), targets, reduction="none")
        else:
            per_token = -head.losses(targets)[0]
        sums = row_sums(per_token, learnt)
        return sums / learnt.sum(-1) if self.config.average else sums

    def _reference(self, model: nn.Module, batch: Batch) -> Float[Tensor, "rows"]:
        if self.config.stored:
            stored = batch.get(REFERENCE_ROWS)
            if stored is None:
                raise ValueError(
                    "objective dpo: stored is true, but a record has no meta.reference_logps; make them with "
                    "precompute_reference, or set stored: false"
                )
            counts = answer_tokens(batch).sum(-1).to(stored)
            return stored / counts if self.config.average else stored
        needs = self.needs(batch)
        with torch.no_grad():
            if self._start is not None:
                return self._logps(self._start.look(model, batch, needs), batch)
            teacher = self.teacher
            if needs.logits is not None and bool((needs.logits & ~teacher.readable(batch)).any()):
                raise ValueError(f"objective dpo: the reference {teacher.name} cannot read all of an answer")
            return self._logps(teacher.look(batch, needs), batch)

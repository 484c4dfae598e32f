"""The reward that preference learning leaves in a model, to rank samples with (RLAIF-V, arXiv 2405.17220).

With the model after preference learning θ and the one it began as, ref, the reward of a whole answer is

    r(y | x) = (1 / |y|) · log( π_θ(y | x) / π_ref(y | x) )

DPO's implicit reward without its factor β, divided by the answer's tokens, so that short answers are not favoured. The
two models may rank the answers of any third one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitrail.inference.inputs import extended
from vitrail.inference.sequences import answer_logps

if TYPE_CHECKING:
    from vitrail.inference.generation import Reply
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded


class SelfReward:
    """Rewards of answers by ``theta`` against ``reference``, two bundles that read alike."""

    def __init__(self, theta: Bundle, reference: Bundle) -> None:
        self.theta, self.reference = theta, reference

    def rewards(self, rows: Sequence[Encoded], *, batch_size: int = 8) -> list[float]:
        """Of encoded records whose learnt tokens are the answers; nats a token. 0 for all where θ is ref."""
        pairs = [answer_logps(bundle, rows, batch_size=batch_size) for bundle in (self.theta, self.reference)]
        return [(own - before) / count for (own, count), (before, _) in zip(*pairs, strict=True)]

    def rank(self, prompt: Encoded, replies: Sequence[Reply], *, batch_size: int = 8) -> list[int]:
        """The replies to one prompt, best first, by their indices; equal rewards stay in their order."""
        values = self.rewards([answered(self.theta, prompt, one) for one in replies], batch_size=batch_size)
        return sorted(range(len(values)), key=lambda index: (-values[index], index))


def answered(bundle: Bundle, prompt: Encoded, reply: Reply) -> Encoded:
    """The prompt with a generated answer behind it, which is what is learnt; with the end of the turn if the model
    ended it itself. ValueError for an answer without a token.
    """
    ids = [*reply.tokens, *(bundle.encoder.end_of_turn[:1] if reply.finished else ())]
    if not ids:
        raise ValueError("the answer has no token, so it has no reward")
    row = extended(prompt, ids)
    labels = row.labels.copy()
    labels[: prompt.length], labels[prompt.length :] = -100, ids
    return dataclasses.replace(row, labels=labels)

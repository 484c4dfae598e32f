"""LLaVA-KD: a small multimodal model learns next-token distributions and visual relations of a large one.

Cai et al., "LLaVA-KD: A Framework of Distilling Multimodal Large Language Models" (arXiv 2410.16236), with a teacher
that has as many visual tokens a picture and the same tokenizer:

    L = α · mean_response D(teacher, student) + β · mean_visual D(teacher, student) + γ · (1 − cos(vec R_s, vec R_t))

D is the forward KL of next-token distributions, at positions in front of learnt tokens (response) and at the positions
of visual tokens (visual). R are the cosines of a picture's visual tokens with one another, as they enter the language
model (``source: connector``) or leave it (``source: output``). Weights 1, 1 and 0.5, as in the paper.

The language-model loss is the objective ``next_token`` beside this one, and both read one call of the student::

    objective: [next_token, {name: llava_kd, teacher: runs/large}]

**The three stages**: distilled pretraining (``trains: [connector]``), plain tuning (``next_token``), distilled tuning
(``trains: [connector, language]``). Which divergence gave the published figures is not known: it is a setting.

Deviations: relations are those of each picture, where a record has several. A token's loss weight does not enter, as
the paper's mean has none; tokens of weight zero are no response.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vitrail.objectives.distilled import Distilled
from vitrail.objectives.divergence import Divergence, divergence_sum
from vitrail.objectives.forward import Batch, Needs, Seen
from vitrail.objectives.labelled import learnt_tokens
from vitrail.objectives.objective import Loss
from vitrail.objectives.relations import relation_loss
from vitrail.objectives.teacher import NamedTeacher, Teacher


class LlavaKD(Distilled):
    """See the module. Terms: ``response_kd``, ``visual_kd`` and ``relation_kd``, those whose weight is not zero.

    A batch without pictures has no visual and no relation term (a sum of zero over no unit).
    """

    class Config(BaseModel):
        """``alpha``, ``beta``, ``gamma``: weights of response, visual and relation terms. ``divergence``: see
        :mod:`vitrail.objectives.divergence`; ``skew``: of its skewed forms. ``temperature`` divides both sides'
        logits. ``source``: which visual tokens relations compare. ``chunk``: positions whose float32 softmaxes are
        alive together. ``eps``: the least length of a token that is divided by.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")
        teacher: NamedTeacher
        alpha: float = Field(default=1.0, ge=0)
        beta: float = Field(default=1.0, ge=0)
        gamma: float = Field(default=0.5, ge=0)
        divergence: Divergence = "forward_kl"
        skew: float = Field(default=0.1, gt=0, lt=1)
        temperature: float = Field(default=1.0, gt=0)
        source: Literal["connector", "output"] = "connector"
        chunk: int = Field(default=256, ge=1)
        eps: float = Field(default=1e-8, gt=0)

    def __init__(self, config: Config, teacher: Teacher | None = None) -> None:
        super().__init__(teacher)
        self.config = config
        given = {"response_kd": config.alpha, "visual_kd": config.beta, "relation_kd": config.gamma}
        self._weights = {term: weight for term, weight in given.items() if weight}
        self.terms = tuple(self._weights)

    @property
    def asks(self) -> bool:
        """Whether any term has a weight."""
        return bool(self.terms)

    @classmethod
    def check(cls, config: Config, stage: Any) -> None:
        """ValueError where no term has a weight."""
        if not (config.alpha or config.beta or config.gamma):
            raise ValueError(
                "objective llava_kd: alpha, beta and gamma are all 0, so it does nothing; give one a weight, or "
                "remove it"
            )

    def count(self, batch: Batch) -> int:
        """Learnt tokens at which the teacher can be asked."""
        return int(self._asked(batch).sum())

    def _asked(self, batch: Batch) -> Bool[Tensor, "batch tokens"]:
        at = _responses(batch)
        teacher = self._teacher
        return (
            at & teacher.readable(batch) if teacher is not None and self.asks and teacher.text_alone else at
        )

    def counts(self, batch: Batch) -> dict[str, int]:
        """Learnt tokens, visual tokens, pictures: what each term is a mean over."""
        found = {
            "response_kd": lambda: self.count(batch),
            "visual_kd": lambda: int(_visual(batch).sum()),
            "relation_kd": lambda: len(_lengths(batch)),
        }
        return {term: found[term]() for term in self.terms}

    def needs(self, batch: Batch) -> Needs:
        """Logits in front of learnt tokens and at visual ones, and the visual tokens themselves."""
        visual = _visual(batch)
        logits = torch.zeros_like(visual)
        if self.config.alpha:
            logits = logits | self._asked(batch)
        if self.config.beta:
            logits = logits | visual
        related = visual if self.config.gamma else None
        if self.config.source == "connector":
            return Needs(logits, embeddings=related)
        return Needs(logits, states=related)

    def read(self, seen: Seen, batch: Batch, noted: Any) -> Loss:
        """The terms that have a weight. ValueError where the teacher does not go with the student."""
        if not self.terms:
            return Loss({}, {})
        teacher = self.teacher
        if teacher.text_alone and (self.config.beta or self.config.gamma):
            raise ValueError(
                f"teacher {teacher.name} takes no pictures, so it has no visual tokens to learn from; set beta and "
                "gamma to 0, or use a teacher that does"
            )
        other = teacher.look(batch, self.needs(batch))
        sums = {}
        if self.config.alpha:
            sums["response_kd"] = self._compared(seen, other, self._asked(batch))
        if self.config.beta:
            sums["visual_kd"] = self._compared(seen, other, _visual(batch))
        if self.config.gamma:
            own, theirs = (self._visual_tokens(one, _visual(batch)) for one in (seen, other))
            sums["relation_kd"] = relation_loss(own, theirs, _lengths(batch), self.config.eps)
        return Loss(sums, dict(self.counts(batch)), dict(self._weights))

    def _compared(self, seen: Seen, other: Seen, at: Tensor) -> Tensor:
        settings = self.config
        return divergence_sum(
            seen.logits(at),
            other.logits(at),
            settings.divergence,
            settings.temperature,
            skew=settings.skew,
            chunk=settings.chunk,
            vocabulary=self.teacher.vocabulary,
        )

    def _visual_tokens(self, seen: Seen, at: Tensor) -> Tensor:
        return seen.embeddings(at) if self.config.source == "connector" else seen.states(at)


def _responses(batch: Batch) -> Bool[Tensor, "batch tokens"]:
    """Positions that predict a learnt token."""
    return F.pad(learnt_tokens(batch), (0, 1))


def _visual(batch: Batch) -> Bool[Tensor, "batch tokens"]:
    layout = batch.get("layout")
    return torch.zeros_like(batch["labels"], dtype=torch.bool) if layout is None else layout.visual


def _lengths(batch: Batch) -> list[int]:
    """Visual tokens of each picture, in the order of the batch."""
    layout = batch.get("layout")
    if layout is None:
        return []
    rows, _ = layout.visual.nonzero(as_tuple=True)
    place = torch.stack([rows, layout.segment[layout.visual], layout.item[layout.visual]])
    return torch.unique_consecutive(place, dim=1, return_counts=True)[1].tolist()

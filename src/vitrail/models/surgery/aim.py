"""AIM: demonstrations enter a prompt as rows of fused states, as many as their text has tokens.

Gao et al. 2024, "AIM: Let Any Multi-modal Large Language Models Embrace Efficient In-Context Learning" (arXiv
2406.07588). The frozen model reads each demonstration alone, picture and text; its states H on the text, which have
taken in the picture, go through one trained layer back to the input space, F = H W + b, and stand in the prompt instead
of the demonstration (:mod:`vitrail.models.surgery.reading_apart`). A prompt of k shots is then k short texts and one
ordinary question. Reading is without gradients: W alone learns, through the second reading.

Which of a chat's exchanges are read apart is said by its record: their pictures lie in ``meta["demonstrations"]``
(:mod:`vitrail.data.demonstrations`). Any other chat is answered as before, bit by bit.

Not verified in the paper and parameters here: which states are read (default: the last, behind the final norm) and how
W begins (default: identity). The text of a demonstration is its exchange as the chat template writes it, from the
user's first word to what ends the answer; the picture stands directly in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from vitrail.models.families.table import family_of
from vitrail.models.surgery.reading_apart import DemonstrationAggregator, demonstrations_of, reading_class
from vitrail.models.surgery.surgery import Breakable, Surgery
from vitrail.models.towers.tower import ComponentConfig


class FusionProjection(nn.Linear):
    """States of demonstrations → rows of the input space; the identity when it begins, or drawn (Xavier)."""

    def __init__(self, dim: int, init: Literal["identity", "random"] = "identity") -> None:
        super().__init__(dim, dim)
        with torch.no_grad():
            if init == "identity":
                nn.init.eye_(self.weight)
            else:
                nn.init.xavier_normal_(self.weight)
            self.bias.zero_()

    def forward(self, states: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "tokens hidden"]:
        """``H W + b``."""
        return super().forward(states)


class Aim(nn.Module):
    """What the surgery adds: the ``projection``, and how states are read."""

    def __init__(self, config: AIM.Config, dim: int) -> None:
        super().__init__()
        self.config = config
        self.projection = FusionProjection(dim, config.init)


class AIM(Surgery):
    """Let a multimodal model read demonstrations apart."""

    breaks: ClassVar[frozenset[Breakable]] = frozenset({"packing", "compile"})

    class Config(ComponentConfig):
        """``read_layer``: whose states are read, 0 the embeddings, l the output of layer l, −1 the last one's;
        ``use_final_norm``: whether the final norm goes over the last one's; ``init``: what the projection begins as.
        """

        read_layer: int = Field(default=-1, ge=-1)
        use_final_norm: bool = True
        init: Literal["identity", "random"] = "identity"

        @model_validator(mode="after")
        def _effective(self) -> AIM.Config:
            if not self.use_final_norm and self.read_layer != -1:
                raise ValueError(
                    f"use_final_norm has no effect with read_layer={self.read_layer}: only the last layer's states are "
                    "normed; remove it"
                )
            return self

    def check(self, model: nn.Module) -> None:
        """ValueError for a model without pictures, a layer that is not there, and a second time."""
        inner: Any = model
        family = family_of(inner.config)
        if family.kind != "multimodal":
            raise ValueError(
                f"{family.model_type!r} takes no pictures; aim is for multimodal language models"
            )
        if hasattr(model, "aim"):
            raise ValueError("this model has undergone aim already")
        DemonstrationAggregator(inner, self.config.read_layer)

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Add the projection."""
        inner: Any = model
        self.rebuild(inner, {})
        like = inner.get_input_embeddings().weight
        inner.aim.to(device=like.device, dtype=like.dtype)
        self.after_load(inner, {})
        return {}

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Add the projection's module."""
        inner: Any = model
        inner.aim = Aim(self.config, inner.config.get_text_config().hidden_size)

    def after_load(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The model's ``forward`` takes demonstrations. A class, so that copies are whole."""
        kind: Any = type(model)
        if not getattr(kind, "reads_demonstrations", False):
            model.__class__ = reading_class(kind)

    def parts(self, model: nn.Module, record: dict[str, Any]) -> dict[str, nn.Module]:
        """``projection``."""
        aim: Any = model.aim
        return {"projection": aim.projection}

    def fed_inputs(self, records: Sequence[Any], record: dict[str, Any], bundle: Any) -> dict[str, Any]:
        """``demonstrations`` of the records that have some."""
        found = demonstrations_of(bundle, records)
        return {} if found is None else {"demonstrations": found}

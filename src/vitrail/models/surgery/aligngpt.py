"""AlignGPT: one token that says how well picture and text match, in front of the instruction.

Zhao et al., "AlignGPT: Multi-modal Large Language Models with Adaptive Alignment Capability" (arXiv 2405.14129). In
pretraining the token is the embedding of the pair's alignment level, ``[BOS] [H_level] [picture] [caption]``; later it
is the mixture that a gate predicts from picture and instruction (:mod:`vitrail.models.surgery.alignment_token`).

The token enters between the word embeddings and the first layer, and leaves behind the last one: ids, attention masks,
labels and logits are those of the sequence without it, in training as in ``generate``. It is never learnt, its mask is
1, and positions count on. Rows without a picture get one column of padding at their end.

Deviations. The released code averages all the text of a conversation into t, answers included, while it trains: the
answer then leaks into the prefix, and at inference it is not there. ``text_scope="instruction"``, the default, takes
what stands in front of the first learnt token. ``resample`` averages the similarities of pictures of other sizes to the
gate's width. With ``learn_levels="mixture"`` the level embeddings may also learn where no level is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vitrail.models.families.table import family_of
from vitrail.models.surgery.alignment_hooks import LEVEL, aligned_class, enter, leave
from vitrail.models.surgery.alignment_token import AlignmentGate, AlignmentIndicators
from vitrail.models.surgery.surgery import Breakable, Surgery
from vitrail.models.towers.tower import ComponentConfig

STAGES: tuple[tuple[str, ...], ...] = (
    ("connector", "aligngpt.levels"),
    ("connector", "language", "aligngpt.gate"),
)
"""What trains in the paper's two stages, by anatomy: caption pairs with levels, then instructions."""


class AlignGPT(Surgery):
    """Give a multimodal model level embeddings, a gate, and the token."""

    breaks: ClassVar[frozenset[Breakable]] = frozenset({"packing", "compile"})

    class Config(ComponentConfig):
        """``n_levels``: levels of alignment; ``image_tokens``: visual tokens of a record, which fix the gate (our own
        models know it); ``resample``: whether records of another number are taken; ``text_scope``: what text the gate
        reads, what stands in front of the first learnt token or all of it; ``position``: tokens in front of the new
        one; ``weights``: from the gate, or all equal (the paper's ablation: one constant token); ``learn_levels``:
        whether level embeddings learn from given levels alone, or through the mixture too.
        """

        n_levels: int = Field(default=8, ge=2)
        image_tokens: int | None = Field(default=None, gt=0)
        resample: bool = False
        text_scope: Literal["instruction", "all"] = "instruction"
        position: int = Field(default=1, ge=0)
        weights: Literal["gate", "uniform"] = "gate"
        learn_levels: Literal["levels", "mixture"] = "levels"

        @model_validator(mode="after")
        def _effective(self) -> AlignGPT.Config:
            if self.weights == "uniform":
                for name in ("image_tokens", "resample", "text_scope"):
                    if getattr(self, name) != type(self).model_fields[name].default:
                        raise ValueError(
                            f"{name} has no effect with weights='uniform', where no gate is; remove it"
                        )
            return self

    def check(self, model: nn.Module) -> None:
        """ValueError for a model without pictures, one that makes its mask before its decoder, and a second time."""
        family, forward = family_of(model.config), inspect.signature(model.forward).parameters
        if family.kind != "multimodal":
            raise ValueError(
                f"{family.model_type!r} takes no pictures; aligngpt is for multimodal language models"
            )
        if "token_type_ids" in forward:
            raise ValueError(
                f"{family.model_type!r} makes its mask from token types in front of the decoder, where the new token "
                "is not there yet; aligngpt is not defined for it"
            )
        if hasattr(model, "aligngpt"):
            raise ValueError("this model has undergone aligngpt already")
        self._image_tokens(model)

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Add what is drawn, and the token's way in and out."""
        inner: Any = model
        record = {"image_tokens": self._image_tokens(model)}
        self.rebuild(inner, record)
        like = inner.get_input_embeddings().weight
        inner.aligngpt.to(device=like.device, dtype=like.dtype)
        self.after_load(inner, record)
        return record

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Add the modules and the hooks of the decoder."""
        inner: Any = model
        hidden = inner.config.get_text_config().hidden_size
        inner.aligngpt = AlignmentToken(self.config, record["image_tokens"], hidden)
        decoder = inner.get_decoder()
        decoder.register_forward_pre_hook(enter, with_kwargs=True)
        decoder.register_forward_hook(leave)

    def after_load(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The model's ``forward`` and ``generate`` say what they are given. A class, so that copies are whole."""
        kind: Any = type(model)
        if not getattr(kind, "takes_alignment", False):
            model.__class__ = aligned_class(kind)

    def parts(self, model: nn.Module, record: dict[str, Any]) -> dict[str, nn.Module]:
        """``levels`` and ``gate``."""
        token: Any = model.aligngpt
        return dict(token.named_children())

    def batch_inputs(self, records: Sequence[Any], record: dict[str, Any]) -> dict[str, Tensor]:
        """What a batch of encoded records adds: ``record_levels`` ``(batch,)`` from their ``meta``, −1 for none."""
        levels = [getattr(one, "meta", {}).get(LEVEL, -1) for one in records]
        return {} if set(levels) == {-1} else {"record_levels": torch.tensor(levels)}

    def _image_tokens(self, model: Any) -> int:
        if self.config.weights == "uniform":
            return 0
        if self.config.image_tokens is not None:
            return self.config.image_tokens
        if hasattr(getattr(model, "connector", None), "num_tokens") and hasattr(model, "tower"):
            return int(model.connector.num_tokens(*model.tower.grid(0, 0)))
        raise ValueError(
            "aligngpt.image_tokens is missing: how many visual tokens a record has (LLaVA-1.5: 576), which fixes the "
            "gate; with resample: true other numbers are taken, too"
        )


class AlignmentToken(nn.Module):
    """Level embeddings ``levels`` and ``gate`` (None for equal weights)."""

    def __init__(self, config: AlignGPT.Config, image_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.levels = AlignmentIndicators(config.n_levels, hidden_size)
        self.gate = None
        if config.weights == "gate":
            self.gate = AlignmentGate(image_tokens, config.n_levels - 1, config.resample)

    def mixed(self, image_tokens: list[Tensor], embeds: Tensor, text: Tensor) -> Tensor:
        """The token of each row ``(batch, hidden)`` from its pictures and its text."""
        if self.gate is not None:
            return self.levels.mix(self.gate.ragged(image_tokens, embeds, text))
        local = self.levels.n_levels - 1
        return self.levels.mix(embeds.new_full((len(embeds), local), 1 / local))

    def untouched(self, used: Sequence[nn.Parameter]) -> Tensor | float:
        """Zero, with a gradient of zeros for every parameter that trains and is not among ``used``."""
        known = {id(one) for one in used}
        rest = [one for one in self.parameters() if one.requires_grad and id(one) not in known]
        return sum((0.0 * one.sum() for one in rest), start=0.0)  # type: ignore[return-value]

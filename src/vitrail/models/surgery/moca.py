"""Learnable Modality Calibration (MoCa): behind each decoder layer, pictures' states are scaled and shifted.

Huang et al. (arXiv 2410.07167). Behind layer ``l``, after its feed-forward residual, with ``g_l, b_l ∈ R^D`` learnt::

    x ← g_l ⊙ x + b_l     at visual tokens;     text stays

``g = 1 + N(0, std)`` and ``b = N(0, std)`` at the start; ``std`` is 0.02 in the authors' class and 0 in their published
runs, and here, where the model begins as it was. It trains with the connector in the first stage and with everything
afterwards, without weight decay (vectors have none here). It acts where more than one token comes in at once: on
prompts and in training, not on single tokens that are generated. (Behind the last layer no text reads pictures any
more: its scale and shift are never trained by words.)

Which tokens are visual is read off ``input_ids``. They are seen at the model's entrance, or (under PEFT, which calls
the model's forward past its hooks) where they become embeddings, and travel to the layers in their keywords, so that
gradient checkpointing finds them again.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from vitrail.models.surgery.surgery import Surgery
from vitrail.models.towers.tower import ComponentConfig

KEYWORD = "vitrail_visual_tokens"
"""The keyword under which decoder layers get the mask of visual tokens."""

_SEEN: ContextVar[tuple[bool, Tensor] | None] = ContextVar("moca", default=None)
"""The token ids of the call under way, and whether they are those of the model's entrance."""


class Calibration(nn.Module):
    """One layer's scale ``gain`` and shift ``bias``."""

    def __init__(self, hidden_size: int, std: float = 0.0, **options: Any) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(hidden_size, **options))
        self.bias = nn.Parameter(torch.zeros(hidden_size, **options))
        if std:
            with torch.no_grad():
                for parameter in (self.gain, self.bias):
                    parameter.add_(torch.randn_like(parameter), alpha=std)

    def forward(
        self, x: Float[Tensor, "batch tokens hidden"], visual: Tensor
    ) -> Float[Tensor, "batch tokens hidden"]:
        """``x`` with its visual tokens calibrated; ``visual`` ``(batch, tokens)``."""
        if visual.shape != x.shape[:2]:
            raise ValueError(
                f"moca: {tuple(x.shape[:2])} states for {tuple(visual.shape)} tokens; it does not go with rules that "
                "drop tokens between layers"
            )
        return torch.where(visual[..., None], x * self.gain.to(x.dtype) + self.bias.to(x.dtype), x)

    def behind_layer(self, layer: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        """The hook on a decoder layer: its output, calibrated."""
        visual = kwargs.get(KEYWORD)
        if visual is None:
            return None
        if isinstance(output, Tensor):
            return self(output, visual)
        return (self(output[0], visual), *output[1:])


class Calibrations(nn.ModuleList):
    """A calibration for each decoder layer, and the hooks that tell them which tokens are visual."""

    def __init__(self, layers: list[Calibration], token_ids: tuple[int, ...]) -> None:
        super().__init__(layers)
        self.token_ids = token_ids

    def enter_model(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """In front of the model: its ``input_ids``."""
        names = list(inspect.signature(model.forward).parameters)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        ids, embeds = given.get("input_ids"), given.get("inputs_embeds")
        if ids is None and embeds is not None and embeds.shape[1] > 1:
            raise ValueError(
                "moca: inputs_embeds came without input_ids, which say where pictures are; give input_ids"
            )
        _SEEN.set(None if ids is None else (True, ids))

    def enter_embeddings(self, embeddings: nn.Module, args: tuple) -> None:
        """In front of the word embeddings: token ids, where the entrance has not shown them."""
        seen = _SEEN.get()
        if args and isinstance(args[0], Tensor) and args[0].ndim == 2 and not (seen and seen[0]):
            _SEEN.set((False, args[0]))

    def enter_decoder(
        self, decoder: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]] | None:
        """In front of the decoder: the mask goes into the keywords."""
        seen = _SEEN.get()
        _SEEN.set(None)
        given = kwargs.get("inputs_embeds")
        given = kwargs.get("input_ids", args[0] if args else None) if given is None else given
        if seen is None or given is None:
            return None
        ids = seen[1]
        if ids.shape != given.shape[:2] or ids.shape[1] < 2:
            return None
        visual = torch.isin(ids, torch.tensor(self.token_ids, device=ids.device))
        return args, {**kwargs, KEYWORD: visual.to(given.device)}


class MoCa(Surgery):
    """Calibrates pictures' states behind every decoder layer of a multimodal model, ours or of transformers."""

    class Config(ComponentConfig):
        """``std``: of the noise that scale (around 1) and shift (around 0) begin with."""

        std: float = Field(default=0.0, ge=0)

    def check(self, model: nn.Module) -> None:
        """ValueError for a model that takes no pictures, or is calibrated already."""
        if hasattr(model, "moca"):
            raise ValueError("moca: this model is calibrated already")
        if not token_ids(model):
            raise ValueError(
                f"moca: {type(model).__name__} has no placeholder of pictures (config.image_token_id), "
                "so no visual tokens"
            )

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Add the calibrations; the record is empty."""
        self._attach(model, self.config.std)
        return {}

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The same modules, without noise."""
        self._attach(model, 0.0)

    def parts(self, model: Any, record: dict[str, Any]) -> dict[str, nn.Module]:
        """``layers``: the calibrations."""
        return {"layers": model.moca}

    @staticmethod
    def _attach(model: Any, std: float) -> None:
        decoder = model.get_decoder()
        hidden_size = model.config.get_text_config().hidden_size
        made = []
        for layer in decoder.layers:
            like = next(layer.parameters())
            # Whole-numbered weights of a quantised layer are no type to learn in.
            dtype = like.dtype if like.dtype.is_floating_point else torch.get_default_dtype()
            made.append(Calibration(hidden_size, std, device=like.device, dtype=dtype))
        model.moca = Calibrations(made, token_ids(model))
        inner = getattr(model, "model", None)
        entrances = [model] if inner is None or inner is decoder else [model, inner]
        for entrance in entrances:
            entrance.register_forward_pre_hook(model.moca.enter_model, with_kwargs=True)
        model.get_input_embeddings().register_forward_pre_hook(model.moca.enter_embeddings)
        decoder.register_forward_pre_hook(model.moca.enter_decoder, with_kwargs=True)
        for layer, calibration in zip(decoder.layers, model.moca, strict=True):
            # In front of other hooks: those that record hidden states record what the next layer gets.
            layer.register_forward_hook(calibration.behind_layer, with_kwargs=True, prepend=True)


def token_ids(model: Any) -> tuple[int, ...]:
    """The placeholders of pictures and videos in a model's configuration."""
    found = (getattr(model.config, name, None) for name in ("image_token_id", "video_token_id"))
    return tuple(dict.fromkeys(one for one in found if isinstance(one, int)))

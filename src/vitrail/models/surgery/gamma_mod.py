"""γ-MoD: redundant decoder layers of a trained multimodal model become mixture-of-depth layers.

Luo et al. 2024, "γ-MoD: Exploring Mixture-of-Depth Adaptation for Multimodal Large Language Models", arXiv 2410.13859.
How a routed layer runs stands in :mod:`vitrail.models.surgery.routing`. Which layers are redundant is measured on the
aligned model by the rank of their attention (:mod:`vitrail.analysis.attention_rank`, whose ``choose_layers`` gives the
explicit list that this surgery takes); the published model routes all but layers 0, 1, 2 and the last. Tune afterwards
with the objective ``routed``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import nn

from vitrail.models.rules.target import Target
from vitrail.models.surgery.routing import Kind, Routers, attach
from vitrail.models.surgery.surgery import Surgery
from vitrail.models.towers.tower import ComponentConfig

_SUBLAYERS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
_OTHER = ("pre_feedforward_layernorm", "post_feedforward_layernorm")


class GammaMod(Surgery):
    """Routed layers. Part: ``router``."""

    breaks = frozenset({"compile"})

    class Config(ComponentConfig):
        """``layers``: a list of numbers; ``every_other`` (1, 3, 5 …, the control at equal operations); ``inner``: all
        but the first three and the last, as published; or ``auto``, which must be made a list by measuring
        (``ratio``: the share of layers it routes). ``skip``: the share of droppable tokens that skip in training.
        ``router``: one for all layers, ``per_layer``, or one for each ``modality``. ``prompt_threshold`` and
        ``threshold``: what p must exceed at inference, for prompts and for single tokens. ``positions``: kept tokens
        are numbered anew (``reindex``, as published) or keep their own (``original``).
        """

        layers: tuple[int, ...] | Literal["auto", "every_other", "inner"] = "auto"
        ratio: float = Field(default=0.5, gt=0, le=1)
        skip: float = Field(default=0.5, ge=0, lt=1)
        router: Kind = "shared"
        prompt_threshold: float = Field(default=0.005, ge=0, lt=1)
        threshold: float = Field(default=0.5, ge=0, lt=1)
        positions: Literal["reindex", "original"] = "reindex"

    def check(self, model: nn.Module) -> None:
        """ValueError for a model that was changed so already, or whose layers cannot be routed, with the reason."""
        if hasattr(model, "gamma_mod"):
            raise ValueError(
                "this model has routed layers already; convert the model it was made from, or go on with it"
            )
        target = Target.of(model)
        layers = self._layers(target.num_layers)
        for index in layers:
            layer = target.decoder.layers[index]
            lacking = [name for name in _SUBLAYERS if not hasattr(layer, name)]
            other = [name for name in _OTHER if hasattr(layer, name)]
            if lacking or other:
                why = f"lacks {lacking[0]!r}" if lacking else f"norms behind its branches ({other[0]!r})"
                raise ValueError(
                    "routing needs layers that add attention and a plain FFN to their input; "
                    f"{type(layer).__name__} {why}"
                )
            if index in target.windowed:
                raise ValueError(
                    f"layer {index} of {target.name} has a sliding window, which counts the entries of its cache; "
                    "leave it out of layers"
                )
        if self.config.positions == "reindex" and (
            target.axes == 3 or not hasattr(target.decoder, "rotary_emb")
        ):
            why = (
                "positions of three axes, which one number cannot replace"
                if target.axes == 3
                else "no rotary_emb"
            )
            raise ValueError(f"{target.name} has {why}; set positions: original")

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Add routers and hooks; the record lists the layers."""
        layers = self._layers(Target.of(model).num_layers)
        self._attach(model, layers)
        return {"layers": list(layers)}

    def outline(self, model: nn.Module) -> dict[str, Any]:
        """For ``auto`` the first layers, as many as would be chosen: only their number matters to shapes."""
        depth = Target.of(model).num_layers
        auto = self.config.layers == "auto"
        layers = tuple(range(max(1, round(self.config.ratio * depth)))) if auto else self._layers(depth)
        self._attach(model, layers)
        return {"layers": list(layers)}

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The same."""
        self._attach(model, tuple(record["layers"]))

    def parts(self, model: nn.Module, record: dict[str, Any]) -> dict[str, nn.Module]:
        """``router``."""
        return {"router": model.gamma_mod}  # type: ignore[dict-item]

    def _layers(self, depth: int) -> tuple[int, ...]:
        named = self.config.layers
        if named == "auto":
            raise ValueError(
                "layers is 'auto', which is measured on data: layers = vitrail.analysis.attention_rank.choose_layers("
                "bundle, records, ratio), then give that list"
            )
        if named == "every_other":
            return tuple(range(1, depth, 2))
        layers = tuple(range(3, depth - 1)) if named == "inner" else tuple(sorted(set(named)))  # type: ignore[arg-type]
        if not layers:
            raise ValueError(
                f"layers {named!r} are none of this model's {depth}; give a list of numbers from 0 to {depth - 1}"
            )
        if layers[0] < 0 or layers[-1] >= depth:
            wrong = layers[0] if layers[0] < 0 else layers[-1]
            raise ValueError(f"layers names {wrong}, but this model has layers 0 to {depth - 1}")
        return layers

    def _attach(self, model: Any, layers: tuple[int, ...]) -> None:
        decoder = model.get_decoder()
        place = decoder.layers[layers[0]].input_layernorm.weight
        model.gamma_mod = Routers(
            decoder.config.hidden_size,
            layers,
            kind=self.config.router,
            skip=self.config.skip,
            thresholds=(self.config.prompt_threshold, self.config.threshold),
            reindex=self.config.positions == "reindex",
            device=place.device,
            dtype=place.dtype,
        )
        model.gamma_mod.train(model.training)
        attach(model, model.gamma_mod)

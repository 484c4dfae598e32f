"""What of a model a rule has to know: its decoder, how its layers attend, and what it cannot do."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import nn

from vitrail.models.logits import unwrapped
from vitrail.models.rules import asking
from vitrail.models.rules.rule import Rule, leaves

STANDING = "_vitrail_standing"
"""The attribute of a model in which the rules that stand in it are kept (:mod:`vitrail.models.rules.standing`)."""


def with_standing(model: nn.Module, rule: Rule | None) -> Rule | None:
    """``rule`` and those that stand in ``model``, combined; None if there are none."""
    standing: dict[str, Rule] = getattr(unwrapped(model), STANDING, {})
    both = [*standing.values(), *([] if rule is None else [rule])]
    return functools.reduce(lambda left, right: left & right, both) if both else None


@dataclass(frozen=True, eq=False)
class Target:
    """The decoder of a model, with the configurations that its masks and its attention are looked up by."""

    entrances: tuple[nn.Module, ...]
    decoder: Any
    configs: tuple[Any, ...]
    num_layers: int
    num_heads: int
    axes: int
    windowed: frozenset[int]
    deepstack: int

    @classmethod
    def of(cls, model: nn.Module) -> Target:
        """Of our model, a causal or multimodal language model of transformers, or a wrapper of one.

        ValueError if there is no decoder with ``layers``.
        """
        inner: Any = unwrapped(model)
        decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else None
        if decoder is None or not hasattr(decoder, "layers"):
            raise ValueError(
                f"{type(inner).__name__} has no decoder with .layers that get_decoder() returns: layer rules need one"
            )
        text = inner.config.get_text_config()
        own = [module.config for module in decoder.modules() if hasattr(module, "config")]
        configs = {id(config): config for config in (decoder.config, text, *own)}
        rope = getattr(decoder.config, "rope_parameters", None) or {}
        three = "mrope_section" in rope or hasattr(getattr(inner, "model", None), "get_rope_index")
        vision = getattr(inner.config, "vision_config", None)
        entrances = (model,) if model is inner else (model, inner)
        return cls(
            entrances=entrances,
            decoder=decoder,
            configs=tuple(configs.values()),
            num_layers=len(decoder.layers),
            num_heads=decoder.config.num_attention_heads,
            axes=3 if three else 1,
            windowed=_windowed(decoder.config, len(decoder.layers)),
            deepstack=len(getattr(vision, "deepstack_visual_indexes", None) or ()),
        )

    @property
    def name(self) -> str:
        """The decoder's class."""
        return type(self.decoder).__name__

    @property
    def implementation(self) -> str:
        """How it attends at present: ``sdpa``, ``eager``, ``flex_attention`` …, or ours."""
        return self.decoder.config._attn_implementation

    def check(self, rule: Rule) -> None:
        """ValueError if the rule cannot hold in this model: which part, and why."""
        for silent in rule.silent:
            asking.check(silent, self.decoder)
        beyond = sorted(layer for layer in rule.layers if layer >= self.num_layers)
        if beyond:
            raise ValueError(
                f"{rule.name} names layer {beyond[-1]}, but {self.name} has the layers 0 to {self.num_layers - 1}"
            )
        for drop in rule.drops:
            self._check_drop(drop.name, drop.layer, (*drop.scores_of, *drop.text_scores_of))
        for hold in rule.held:
            cut = sorted(layer for layer in self.windowed if hold.holds(layer))
            if cut:
                raise ValueError(
                    f"{hold.name} cuts the cache of layer {cut[0]}, which has a window of its own in {self.name}; "
                    f"use window(..., evict=False), or .on() the other layers"
                )
        if "flex" in self.implementation and (rule.drops or rule.held or rule.silent):
            raise ValueError(
                f"{rule.name} drops or silences tokens, or drops cache entries, which FlexAttention's block masks "
                "cannot follow; load the model with attn_implementation='sdpa'"
            )
        if self.implementation.startswith("flash") and (leaves(rule.mask) or rule.isolation):
            raise ValueError(
                f"{rule.name} needs a mask, which {self.implementation} does not take; "
                "load the model with attn_implementation='sdpa' or 'flex_attention'"
            )

    def _check_drop(self, name: str, layer: int, scores_of: tuple[int, ...]) -> None:
        later = sorted(one for one in self.windowed if one >= layer)
        if later:
            raise ValueError(
                f"{name} drops tokens at layer {layer}, but layer {later[0]} of {self.name} has a sliding window, "
                "which counts the entries of its cache; drop behind the last such layer, or not at all"
            )
        if layer < self.deepstack:
            raise ValueError(
                f"{name} drops tokens at layer {layer}, but {self.name} adds visual features behind each of its first "
                f"{self.deepstack} layers, for every visual token; drop at layer {self.deepstack} or later"
            )
        if any(one >= layer for one in scores_of):
            raise ValueError(
                f"{name} drops tokens at layer {layer} by attention of layer {max(scores_of)}, which comes later"
            )


def _windowed(config: Any, num_layers: int) -> frozenset[int]:
    """Layers whose cache keeps a window only."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return frozenset(index for index, kind in enumerate(kinds) if kind != "full_attention")
    window = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    return (
        frozenset(range(num_layers))
        if window and getattr(config, "use_sliding_window", True)
        else frozenset()
    )

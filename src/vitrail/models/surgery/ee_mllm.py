"""EE-MLLM as a surgery: composite attention, as a rule that stands in the model.

The method and its equations are those of :mod:`vitrail.models.rules.ee_mllm`. It adds no parameter. Done to a model
that is then tuned it is EE-MLLM; done to a ready one, perhaps from some layer on, it is the training-free EE-MLLM-F.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from vitrail.models.rules.ee_mllm import Aligner, Path, composite_attention
from vitrail.models.rules.rule import Rule
from vitrail.models.rules.target import Target
from vitrail.models.surgery.standing_rule import StandingRule
from vitrail.models.towers.tower import ComponentConfig


class EEMLLM(StandingRule):
    """Only text asks; visual tokens are carried by the layer's own weights."""

    name = "ee_mllm"

    class Config(ComponentConfig):
        """``aligner``: what carries visual tokens (``vo+ffn``, ``ffn``, ``vo``, ``none``). ``layers``: ``all``, a slice
        such as ``"8:"``, or a list of layers; the others stay dense. ``path``: ``fast``, or ``mask``, the slow
        reference. ``skip_last``: leave visual tokens alone in the last layer, whose output at their places nothing
        reads.
        """

        aligner: Aligner = "vo+ffn"
        layers: str | tuple[int, ...] = "all"
        path: Path = "fast"
        skip_last: bool = False

        @model_validator(mode="after")
        def _no_setting_without_effect(self) -> EEMLLM.Config:
            if self.path == "mask" and (self.aligner != "vo+ffn" or self.skip_last):
                raise ValueError(
                    "path 'mask' is the aligner 'vo+ffn' in every layer; use path 'fast' for others"
                )
            if self.skip_last and self.aligner == "none":
                raise ValueError("skip_last has no effect with aligner 'none'; remove it")
            chosen(self.layers, 1_000_000)
            return self

    def record(self, model: Any) -> dict[str, Any]:
        """The layers by number."""
        number = Target.of(model).num_layers
        layers = chosen(self.config.layers, number)
        if self.config.skip_last and number - 1 not in layers:
            raise ValueError(f"skip_last has no effect: layer {number - 1}, the last, is not among layers")
        return {"layers": layers}

    def rule(self, model: Any, record: dict[str, Any]) -> Rule:
        """The rule of the settings on the layers of the record."""
        config, layers = self.config, record["layers"]
        if not config.skip_last:
            return composite_attention(config.aligner, path=config.path, layers=layers)
        last = composite_attention("none", layers=layers[-1:])
        return composite_attention(config.aligner, layers=layers[:-1]) & last if layers[:-1] else last


def chosen(layers: str | tuple[int, ...] | Literal["all"], number: int) -> list[int]:
    """The layers that a setting names, of ``number``. ValueError for what is no slice, empty, or out of range."""
    if isinstance(layers, str):
        if layers == "all":
            return list(range(number))
        start, colon, stop = layers.partition(":")
        if not colon or not all(edge.strip().lstrip("-").isdigit() for edge in (start, stop) if edge.strip()):
            raise ValueError(
                f"layers is {layers!r}; give 'all', a slice such as '8:' or '4:12', or a list of numbers"
            )
        edges = [int(edge) if edge.strip() else None for edge in (start, stop)]
        found = list(range(number))[slice(*edges)]
    else:
        found = sorted(set(layers))
    wrong = [one for one in found if not 0 <= one < number]
    if wrong or not found or (isinstance(layers, str) and edges[0] is not None and abs(edges[0]) > number):
        raise ValueError(f"layers is {layers!r}, but the model has the layers 0 to {number - 1}")
    return found

"""TC-LLaVA as a surgery: time in the positions and a mask by frames, as a rule that stands in the model.

The method and its equations are those of :mod:`vitrail.models.rules.tc_llava`. It adds no parameter and belongs under a
model before it is tuned on frames; for text alone positions are stretched by 1 + γ, which tuning has to absorb.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from vitrail.models.rules.rule import Rule
from vitrail.models.rules.target import Target
from vitrail.models.rules.tc_llava import Frames, MaskKind, TextTemporal, tc_llava
from vitrail.models.surgery.standing_rule import StandingRule
from vitrail.models.towers.tower import ComponentConfig


class TCLLaVA(StandingRule):
    """Temporal-aware dual RoPE and the frame-wise block causal mask, or one of them."""

    name = "tc_llava"

    class Config(ComponentConfig):
        """``gamma``: the weight of time (1 as published). ``mask``: ``frames`` as published, ``visual`` (all visual
        tokens see each other), ``none``. ``rope``: whether positions change. ``text_temporal``: whether text advances
        time. ``frames``: whether each picture is a frame (``images``), or frames of videos alone are (``video``).
        """

        gamma: float = Field(default=1.0, ge=0)
        mask: MaskKind = "frames"
        rope: bool = True
        text_temporal: TextTemporal = "running"
        frames: Frames = "images"

        @model_validator(mode="after")
        def _no_setting_without_effect(self) -> TCLLaVA.Config:
            if not self.rope and self.mask == "none":
                raise ValueError(
                    "rope is False and mask 'none': nothing would change; set one, or leave it out"
                )
            idle = () if self.rope else ("gamma", "text_temporal", *["frames"] * (self.mask == "visual"))
            for name in idle:  # by value: a recipe written whole names every setting
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} has no effect with rope False; remove it")
            return self

    def check(self, model: Any) -> None:
        """ValueError for a model without rotary positions, or with three axes of them, unless ``rope`` is False."""
        target = Target.of(model)
        if self.config.rope and target.axes != 1:
            raise ValueError(
                f"rope: positions of {target.name} count time, height and width apart, so time is in them already and "
                "one more counter has no place; use rope: false for the mask alone"
            )
        if self.config.rope and not hasattr(target.decoder, "rotary_emb"):
            raise ValueError(
                f"rope: {target.name} has no rotary positions (rotary_emb), which are what this turns; use rope: false"
            )
        super().check(model)

    def rule(self, model: Any, record: dict[str, Any]) -> Rule:
        """The rule of the settings; it warns beyond the model's ``max_position_embeddings``."""
        config = self.config
        return tc_llava(
            config.gamma,
            mask=config.mask,
            rope=config.rope,
            frames=config.frames,
            text_temporal=config.text_temporal,
            trained=getattr(model.config.get_text_config(), "max_position_embeddings", None),
        )

"""The configuration of vitrail's dual encoder, as transformers saves and loads it."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig


class VitrailDualEncoderConfig(PreTrainedConfig):
    """A tower, a text encoder, and the space that they share.

    ``tower`` is ``{"name": <registered name>, **settings}``; ``text_config`` the text encoder's own configuration;
    ``projection_dim`` the width of the shared space. ``vision_pooling``: a learned probe over the tower's tokens,
    their mean, or the tower's own pooled vector. ``text_pooling``: the mean of the tokens that are there, the first
    token, or the encoder's own ``pooler_output``. ``logit_scale_init_value`` is s (CLIP's: log(1/0.07)),
    ``logit_bias_init_value`` the first b (SigLIP's: −10; None: no bias).
    """

    model_type = "vitrail_dual_encoder"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": AutoConfig}

    tower: dict[str, Any] | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int = 256
    vision_pooling: str = "attention"
    text_pooling: str = "mean"
    logit_scale_init_value: float = 2.6592
    logit_bias_init_value: float | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Turn a ``text_config`` given as a dict into the class of its ``model_type``; ValueError for a wrong
        pooling."""
        if isinstance(self.text_config, dict):
            settings = dict(self.text_config)
            self.text_config = AutoConfig.for_model(settings.pop("model_type", "bert"), **settings)
        elif self.text_config is None:
            self.text_config = AutoConfig.for_model("bert")
        self.tower = dict(self.tower or {"name": "efficientnet_lite"})
        for name, known in (
            ("vision_pooling", ("attention", "mean", "own")),
            ("text_pooling", ("mean", "first", "own")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {', '.join(known)}")
        super().__post_init__(**kwargs)

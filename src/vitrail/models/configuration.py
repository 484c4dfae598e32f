"""The configuration of vitrail's multimodal language model, as transformers saves and loads it."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig


class VitrailConfig(PreTrainedConfig):
    """A tower, a connector and a causal language model.

    ``tower`` and ``connector`` are ``{"name": <registered name>, **settings}``; ``text_config`` is the language model's
    own configuration; ``image_token_id`` is the placeholder that stands for each visual token.
    """

    model_type = "vitrail"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": AutoConfig}

    tower: dict[str, Any] | None = None
    connector: dict[str, Any] | None = None
    text_config: dict | PreTrainedConfig | None = None
    image_token_id: int = 0

    def __post_init__(self, **kwargs: Any) -> None:
        """Turn a ``text_config`` given as a dict into the configuration class of its ``model_type``."""
        if isinstance(self.text_config, dict):
            settings = dict(self.text_config)
            self.text_config = AutoConfig.for_model(settings.pop("model_type", "llama"), **settings)
        elif self.text_config is None:
            self.text_config = AutoConfig.for_model("llama")
        self.tower = dict(self.tower or {"name": "efficientnet_lite"})
        self.connector = dict(self.connector or {"name": "mlp"})
        # The head is tied, or not, inside the language model; this class itself ties nothing.
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        super().__post_init__(**kwargs)

"""vitrail's dual encoder: a tower for pictures, a text encoder, and one space in which both meet.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP, arXiv 2103.00020):

    x_i = P_v(v(picture_i))    y_j = P_t(t(text_j))    logits_ij = exp(s) · cos(x_i, y_j) [+ b]

with the learned temperature s = log(1/τ), and the bias b of SigLIP (arXiv 2303.15343) where it is asked for. Names,
arguments and outputs are those of transformers' ``CLIPModel``, so that what runs on a CLIP runs on this.

Deviations: the tower is any registered one and the text encoder any of transformers, each with its own pooling; the
picture may come as the tower's stored features.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPOutput

from vitrail.models.dual_configuration import VitrailDualEncoderConfig
from vitrail.models.features import Features
from vitrail.models.pooling import AttentionPool, masked_mean, mean_of_items
from vitrail.models.towers.tower import Tower
from vitrail.models.vlm import build_tower


class VitrailDualEncoder(PreTrainedModel):
    """Scores pictures against texts. Built from its configuration (random weights), or from ready parts by keyword."""

    config_class = VitrailDualEncoderConfig
    config: VitrailDualEncoderConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("image", "text")  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(
        self,
        config: VitrailDualEncoderConfig,
        *,
        tower: Tower | None = None,
        text: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        self.vision_model = tower if tower is not None else build_tower(config.tower or {})
        text_config = cast(Any, config.text_config)
        self.text_model: Any = text if text is not None else AutoModel.from_config(text_config)
        if config.text_pooling != "own" and getattr(self.text_model, "pooler", None) is not None:
            self.text_model.pooler = None  # it would be without a gradient, which data parallelism waits for
        dim = config.projection_dim
        if config.vision_pooling == "attention":
            self.visual_projection: nn.Module = AttentionPool(self.vision_model.width, dim)
        else:
            self.visual_projection = nn.Linear(self.vision_model.width, dim, bias=False)
        self.text_projection = nn.Linear(text_config.hidden_size, dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        if config.logit_bias_init_value is None:
            self.logit_bias = None
        else:
            self.logit_bias = nn.Parameter(torch.tensor(float(config.logit_bias_init_value)))
        self.post_init()

    @classmethod
    def from_parts(
        cls, *, tower: Tower, tower_name: str, text: PreTrainedModel, seed: int = 0, **settings: Any
    ) -> VitrailDualEncoder:
        """Join a built tower and text encoder; what is new is drawn with ``seed``, the caller's random state stays.

        ``settings`` are fields of the configuration (``projection_dim``, ``vision_pooling`` …).
        """
        attention = text.config._attn_implementation
        config = VitrailDualEncoderConfig(
            tower={"name": tower_name, **tower.settings()}, text_config=text.config, **settings
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(config, tower=tower, text=text)
        text.config._attn_implementation = attention  # joining configurations resets it
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """Tower and projections initialise themselves in their constructors, the text encoder by its own rule."""

    @property
    def tower(self) -> Tower:
        """The vision side, under the name that it has in our multimodal model."""
        return self.vision_model

    def get_input_embeddings(self) -> nn.Module:
        """The text encoder's word embeddings."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.text_model.set_input_embeddings(value)

    def get_image_features(
        self,
        pixel_values: Float[Tensor, "images 3 height width"] | None = None,
        vision_features: Float[Tensor, "images count dim"] | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPooling:
        """Embeddings of pictures, ``pooler_output`` ``(images, projection_dim)``, not normalised.

        From pixels, or from the tower's stored features. ValueError unless exactly one is given, and for stored
        features with ``vision_pooling="own"``, which they do not hold.
        """
        if (pixel_values is None) == (vision_features is None):
            raise ValueError("give exactly one of pixel_values and vision_features")
        if pixel_values is not None:
            features = self.vision_model(pixel_values.to(self.dtype))
        else:
            assert vision_features is not None
            rows, cols = self.vision_model.grid(0, 0)
            features = Features.from_grid(vision_features.to(self.dtype), rows, cols)
        return BaseModelOutputWithPooling(
            last_hidden_state=features.tokens, pooler_output=self._projected(features)
        )

    def _projected(self, features: Features) -> Tensor:
        pooling = self.config.vision_pooling
        if pooling == "attention":
            return self.visual_projection(features)
        if pooling == "mean":
            return self.visual_projection(mean_of_items(features))
        if features.pooled is None:
            raise ValueError(
                "vision_pooling is 'own', but there is no pooled vector (this tower has none, or its stored features "
                "do not); use 'attention' or 'mean'"
            )
        return self.visual_projection(features.pooled)

    def get_text_features(
        self,
        input_ids: Int[Tensor, "batch tokens"] | None = None,
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Embeddings of texts, ``pooler_output`` ``(batch, projection_dim)``, not normalised.

        Without ``attention_mask`` every token counts. Other arguments go to the text encoder.
        """
        if input_ids is None:
            raise ValueError("give input_ids, the tokens of the texts")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        output = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        hidden = output.last_hidden_state
        if self.config.text_pooling == "mean":
            pooled = masked_mean(hidden, attention_mask.bool())
        elif self.config.text_pooling == "first":
            first = attention_mask.long().argmax(-1)  # padding may stand on the left
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), first]
        else:
            pooled = output.pooler_output
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden, pooler_output=self.text_projection(pooled)
        )

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"] | None = None,
        pixel_values: Float[Tensor, "images 3 height width"] | None = None,
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        vision_features: Float[Tensor, "images count dim"] | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> CLIPOutput:
        """Every picture against every text: ``logits_per_image (images, batch)``, and the normalised embeddings.

        ``return_loss``: CLIP's loss of as many pictures as texts, pair by pair.
        """
        seen = self.get_image_features(pixel_values, vision_features)
        read = self.get_text_features(input_ids, attention_mask, **kwargs)
        image_embeds = F.normalize(cast(Tensor, seen.pooler_output), dim=-1)
        text_embeds = F.normalize(cast(Tensor, read.pooler_output), dim=-1)
        logits = text_embeds @ image_embeds.T * self.logit_scale.exp()
        if self.logit_bias is not None:
            logits = logits + self.logit_bias
        loss = None
        if return_loss:
            own = torch.arange(len(logits), device=logits.device)
            loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return CLIPOutput(
            loss=loss,  # type: ignore[arg-type]
            logits_per_image=logits.T,  # type: ignore[arg-type]
            logits_per_text=logits,  # type: ignore[arg-type]
            text_embeds=text_embeds,  # type: ignore[arg-type]
            image_embeds=image_embeds,  # type: ignore[arg-type]
            text_model_output=read,
            vision_model_output=seen,
        )


class VitrailDualEncoderProcessor(ProcessorMixin):
    """Pictures and texts → what the model takes; called as transformers' ``CLIPProcessor`` is."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer)

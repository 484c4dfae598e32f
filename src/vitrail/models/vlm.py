"""vitrail's multimodal language model: tower + connector + any causal language model of transformers.

The language model is kept whole (a ``…ForCausalLM``), so any of them fits, with its own head, scaling and cache. Visual
tokens replace the embeddings at placeholder positions; they may also come ready-made through ``mm_encoder_outputs``,
the same seam that transformers' own families have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast

from vitrail import registry
from vitrail.models.caching import LIBRARY_NAME, cache_argument, only_cache
from vitrail.models.configuration import VitrailConfig
from vitrail.models.connectors.connector import Connector
from vitrail.models.features import Features
from vitrail.models.layout import Layout
from vitrail.models.logits import logits_at
from vitrail.models.rules.packing import refuse_unruled_resets
from vitrail.models.towers.tower import Tower


def build_tower(settings: dict[str, Any]) -> Tower:
    """A tower from ``{"name": …, **settings}``. ValueError for a name that is not registered."""
    given = dict(settings)
    kind = registry.get("tower", given.pop("name"))
    return kind(kind.Config(**given))


def build_connector(settings: dict[str, Any], tower_width: int, hidden_size: int) -> Connector:
    """A connector from ``{"name": …, **settings}``. ValueError for a name that is not registered."""
    given = dict(settings)
    kind = registry.get("connector", given.pop("name"))
    return kind(kind.Config(**given), tower_width=tower_width, hidden_size=hidden_size)


@dataclass
class VitrailOutput(CausalLMOutputWithPast):
    """What ``forward`` returns; ``image_hidden_states`` are the visual tokens ``(total, hidden_size)``."""

    loss: Tensor | None = None
    logits: Tensor | None = None  # of any precision; older releases of transformers annotate float32
    image_hidden_states: Tensor | None = None


class VitrailForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Answers in text to text and pictures.

    Built from its config (random weights), or from ready parts by keyword.
    """

    config_class = VitrailConfig
    config: VitrailConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("image", "text")  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(
        self,
        config: VitrailConfig,
        *,
        tower: Tower | None = None,
        connector: Connector | None = None,
        language: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        self.tower = tower if tower is not None else build_tower(config.tower or {})
        if language is None:
            language = AutoModelForCausalLM.from_config(config.text_config)
        self.language = language
        hidden_size = config.get_text_config().hidden_size
        if connector is None:
            connector = build_connector(config.connector or {}, self.tower.width, hidden_size)
        self.connector = connector
        self._no_split_modules = language._no_split_modules
        self.post_init()

    @classmethod
    def from_parts(
        cls,
        *,
        tower: Tower,
        tower_name: str,
        connector: dict[str, Any],
        language: PreTrainedModel,
        image_token_id: int,
    ) -> VitrailForConditionalGeneration:
        """Join a built tower and language model with a fresh connector ``{"name": …, **settings}``."""
        attention = language.config._attn_implementation
        config = VitrailConfig(
            tower={"name": tower_name, **tower.settings()},
            connector=connector,
            text_config=language.config,
            image_token_id=image_token_id,
        )
        model = cls(config, tower=tower, language=language)
        words: Any = language.get_input_embeddings()
        model.connector.reset_like(words)
        language.config._attn_implementation = attention  # joining configurations resets it
        model.generation_config = language.generation_config
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """Tower and connector initialise themselves in their constructors, the language model by its own rule."""

    def get_input_embeddings(self) -> nn.Module:
        """The language model's word embeddings."""
        return self.language.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.language.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return self.language.get_output_embeddings()

    def get_decoder(self) -> nn.Module:
        """The language model without its head."""
        return self.language.get_decoder()

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """The tower."""
        return self.tower

    def get_image_features(
        self,
        pixel_values: Float[Tensor, "images 3 height width"] | None = None,
        vision_features: Float[Tensor, "images count dim"] | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPooling:
        """Visual tokens of pictures, from pixels or from the tower's stored features.

        Returns an output whose ``pooler_output`` is flat, ``(total, hidden_size)``, pictures in order.
        """
        if (pixel_values is None) == (vision_features is None):
            raise ValueError("give exactly one of pixel_values and vision_features")
        if pixel_values is not None:
            features = self.tower(pixel_values.to(self.dtype))
        else:
            assert vision_features is not None
            rows, cols = self.tower.grid(0, 0)
            features = Features.from_grid(vision_features.to(self.dtype), rows, cols)
        tokens, _ = self.connector(features)
        return BaseModelOutputWithPooling(last_hidden_state=features.tokens, pooler_output=tokens)

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "batch tokens"] | None = None,
        past_key_values: Any = None,
        inputs_embeds: Float[Tensor, "batch tokens hidden"] | None = None,
        pixel_values: Float[Tensor, "images 3 height width"] | None = None,
        vision_features: Float[Tensor, "images count dim"] | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        labels: Int[Tensor, "batch tokens"] | None = None,
        logits_to_keep: int | Tensor = 0,
        layout: Layout | None = None,
        use_cache: bool | None = None,
        cache: Any = None,
        **kwargs: Any,
    ) -> VitrailOutput:
        """Logits, and the mean loss where ``labels`` are given.

        Pictures come as ``pixel_values``, as the tower's stored ``vision_features``, or as ready visual tokens in
        ``mm_encoder_outputs["image"].pooler_output``, always in the order of their placeholders. Without ``input_ids``
        and ``inputs_embeds`` only the visual tokens are computed, ``image_hidden_states`` of the output: objectives
        that need no language model use that. ``logits_to_keep`` as in transformers, or a boolean ``(batch, tokens)``
        mask: the logits are then flat ``(kept, vocab)``. ``layout`` is at hand for rules that read it. The cache comes
        under the name that the installed transformers has for it, or the other.
        """
        cache = only_cache(past_key_values, cache)
        image_tokens = self._image_tokens(pixel_values, vision_features, mm_encoder_outputs)
        if input_ids is None and inputs_embeds is None:
            if image_tokens is None:
                raise ValueError("give input_ids, inputs_embeds or pictures")
            return VitrailOutput(image_hidden_states=image_tokens)
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if image_tokens is not None:
            inputs_embeds = self._merge(input_ids, inputs_embeds, image_tokens)
        if attention_mask is None:
            attention_mask = self._all_present(inputs_embeds, cache)
        refuse_unruled_resets(position_ids, attention_mask, decoder=self.get_decoder())
        if position_ids is None and isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        arguments = {
            "inputs_embeds": inputs_embeds,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            cache_argument(self.language) or LIBRARY_NAME: cache,
            "use_cache": use_cache,
            **kwargs,
        }
        if (
            isinstance(logits_to_keep, Tensor)
            and logits_to_keep.dtype == torch.bool
            and logits_to_keep.ndim == 2
        ):
            output = logits_at(self.language, logits_to_keep, labels=None, **arguments)
        else:
            output = self.language(labels=labels, logits_to_keep=logits_to_keep, **arguments)
        return VitrailOutput(**output, image_hidden_states=image_tokens)

    def _image_tokens(
        self, pixel_values: Tensor | None, vision_features: Tensor | None, ready: dict[str, Any] | None
    ) -> Tensor | None:
        given = [value is not None for value in (pixel_values, vision_features, (ready or {}).get("image"))]
        if sum(given) > 1:
            raise ValueError("give pictures once: as pixel_values, vision_features or mm_encoder_outputs")
        if not any(given):
            return None
        if given[2]:
            output = ready["image"].pooler_output  # type: ignore[index]
            return torch.cat(list(output)) if isinstance(output, (list, tuple)) else output
        return self.get_image_features(pixel_values, vision_features).pooler_output

    def _merge(self, input_ids: Tensor | None, inputs_embeds: Tensor, image_tokens: Tensor) -> Tensor:
        if input_ids is None:
            raise ValueError("pictures need input_ids: their placeholders say where visual tokens belong")
        mask = input_ids == self.config.image_token_id
        if int(mask.sum()) != len(image_tokens):
            raise ValueError(
                f"Image features and image tokens do not match: {len(image_tokens)} features, "
                f"{int(mask.sum())} placeholders (id {self.config.image_token_id}) in input_ids"
            )
        return inputs_embeds.masked_scatter(mask.unsqueeze(-1), image_tokens.to(inputs_embeds.dtype))

    @staticmethod
    def _all_present(inputs_embeds: Tensor, cache: Any) -> Tensor:
        """A mask is always passed on: without one transformers would guess packed samples from positions."""
        past = cache.get_seq_length() if cache is not None else 0
        batch, tokens = inputs_embeds.shape[:2]
        return torch.ones(batch, past + tokens, dtype=torch.long, device=inputs_embeds.device)

    @torch.no_grad()
    def generate(self, *args: Any, vision_features: Tensor | None = None, **kwargs: Any) -> Any:
        """As transformers' own, from stored ``vision_features``, too.

        They become visual tokens here: transformers takes what ``get_image_features`` reads out of the inputs before
        the prompt is read, and encodes pixels only.
        """
        if vision_features is not None:
            ready = self.get_image_features(vision_features=vision_features)
            kwargs["mm_encoder_outputs"] = {"image": ready}
        return super().generate(*args, **kwargs)  # type: ignore[misc]

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Pictures enter with the prompt, and again only where there is no cache."""
        pictures = {
            key: kwargs.pop(key, None) for key in ("pixel_values", "vision_features", "mm_encoder_outputs")
        }
        kwargs.pop("layout", None)
        inputs = super().prepare_inputs_for_generation(  # type: ignore[misc]
            input_ids,  # type: ignore[arg-type]
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        if is_first_iteration or not kwargs.get("use_cache", True):
            inputs.update({key: value for key, value in pictures.items() if value is not None})
        return inputs

    def _expand_inputs_for_generation(  # type: ignore[override]
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Beams and samples: each row's visual tokens are computed once and repeated with the row."""
        pictures = {
            key: kwargs.pop(key, None) for key in ("pixel_values", "vision_features", "mm_encoder_outputs")
        }
        layout = kwargs.pop("layout", None)
        if expand_size > 1 and input_ids is not None:
            tokens = self._image_tokens(*pictures.values())
            if tokens is not None:
                counts = (input_ids == self.config.image_token_id).sum(-1).tolist()
                repeated = [row for row in tokens.split(counts) for _ in range(expand_size)]
                output = BaseModelOutputWithPooling(pooler_output=torch.cat(repeated))
                pictures = {"mm_encoder_outputs": {"image": output}}
            layout = layout.repeat_interleave(expand_size) if layout is not None else None
        input_ids, kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc, assignment]
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,  # type: ignore[arg-type]
            **kwargs,
        )
        extra = {**pictures, "layout": layout}
        return input_ids, {**kwargs, **{key: value for key, value in extra.items() if value is not None}}

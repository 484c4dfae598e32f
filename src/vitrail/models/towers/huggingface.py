"""Any vision model of transformers as a tower: CLIP, SigLIP, DINOv2, ViT, ConvNeXt, ResNet …"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig, Tower


class HuggingFaceTower(Tower):
    """A vision model of transformers, its class and summary tokens left out.

    ``vision_config`` is the model's own configuration (``AutoConfig`` reads it by its ``model_type``); ``layer``
    picks a hidden state as LLaVA's ``vision_feature_layer`` does (−1 the last one, −2 the one before). Works for
    models whose hidden states are ``(images, tokens, dim)`` with a square grid behind any summary tokens, and for
    feature maps ``(images, dim, rows, cols)``. ``image_processor`` holds the settings of the model's own processor.
    """

    class Config(ComponentConfig):
        """See the class."""

        vision_config: dict[str, Any]
        layer: int = -1
        image_processor: dict[str, Any] | None = None

    def __init__(self, config: Config, model: nn.Module | None = None) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        self.config = config
        if "model_type" not in config.vision_config:
            raise ValueError(
                "tower.vision_config needs a 'model_type', e.g. 'siglip_vision_model' or 'dinov2'"
            )
        settings = dict(config.vision_config)
        vision_config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.model = model if model is not None else AutoModel.from_config(vision_config)
        self.width = _first_of(vision_config, "hidden_size", "hidden_sizes", "embed_dim")
        self.image_size = _side(_first_of(vision_config, "image_size", default=224))
        self._rows_cols = self._probe_grid()

    @classmethod
    def from_pretrained(cls, path: str, layer: int = -1, **options: Any) -> HuggingFaceTower:
        """Load a vision model, or the vision half of a dual encoder, with its image processor, by path or hub name."""
        from transformers import AutoModel

        # Not from the top: there 5.17 asks for torchvision.
        from transformers.models.auto.image_processing_auto import AutoImageProcessor

        model = AutoModel.from_pretrained(path, **options)
        model = getattr(model, "vision_model", model) if hasattr(model.config, "vision_config") else model
        processor = AutoImageProcessor.from_pretrained(path).to_dict()
        config = cls.Config(vision_config=model.config.to_dict(), layer=layer, image_processor=processor)
        return cls(config, model=model)

    def _probe_grid(self) -> tuple[int, int]:
        shape = (1, getattr(self.model.config, "num_channels", 3), self.image_size, self.image_size)
        with torch.no_grad():
            parameter = next(self.model.parameters())
            training = self.model.training
            pixels = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
            hidden = self.model.eval()(pixels, output_hidden_states=True).hidden_states[self.config.layer]
            self.model.train(training)
        if hidden.ndim == 4:
            return hidden.shape[2], hidden.shape[3]
        side = int(hidden.shape[1] ** 0.5)
        return side, side

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Every picture is resized to the model's own size, so the grid is always the same."""
        return self._rows_cols

    def image_processor(self) -> Any:
        """The model's own processor, from its recorded settings; plain resizing and CLIP statistics otherwise."""
        import transformers
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        settings = dict(self.config.image_processor or {})
        size = {"height": self.image_size, "width": self.image_size}
        if not settings:
            return SiglipImageProcessorPil(size=size)
        kind = settings.pop("image_processor_type")
        found = getattr(transformers, kind, None) or getattr(
            transformers, kind.removesuffix("Pil") + "Pil", None
        )
        if found is None:
            raise ValueError(f"tower.image_processor names {kind!r}, which this transformers does not have")
        return found(**settings)

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Features:
        """Features of the chosen layer, in raster order."""
        output = self.model(pixel_values, output_hidden_states=True)
        hidden = output.hidden_states[self.config.layer]
        rows, cols = self._rows_cols
        if hidden.ndim == 4:
            hidden = hidden.flatten(2).transpose(1, 2)
        tokens = hidden[:, hidden.shape[1] - rows * cols :]  # summary tokens stand in front
        pooled = getattr(output, "pooler_output", None)
        return Features.from_grid(
            tokens, rows, cols, pooled=pooled.flatten(1) if pooled is not None else None
        )


def _first_of(config: Any, *names: str, default: int | None = None) -> int:
    for name in names:
        value = getattr(config, name, None)
        if value is not None:
            return value[-1] if name == "hidden_sizes" else value
    if default is None:
        raise ValueError(f"the vision configuration {type(config).__name__} has none of {', '.join(names)}")
    return default


def _side(size: Any) -> int:
    return int(size[0]) if isinstance(size, (list, tuple)) else int(size)

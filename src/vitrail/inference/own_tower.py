"""The tower of the model that answers, as the encoder of a memory: no second model is needed to find pictures by.

A picture's vector is the mean of its visual features before the connector, divided by its length. RAP's own encoder is
the CLIP that LLaVA-1.5 has for a tower (arXiv 2410.13360 uses its pooled and projected vector, not the mean).
"""

from __future__ import annotations

import inspect
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from vitrail.data.records import Image

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


class OwnTower:
    """Unit vectors of pictures by ``bundle``'s tower, one at a time, so that they depend on nothing else.

    It reads no texts. ValueError for a model that takes no pictures.
    """

    sees, reads = True, False

    def __init__(self, bundle: Bundle) -> None:
        from vitrail.models.logits import unwrapped

        self._bundle = bundle
        self._model: Any = unwrapped(bundle.model)
        if bundle.encoder.planner is None or not hasattr(self._model, "get_image_features"):
            raise ValueError(
                f"{bundle.name} has no tower to find pictures by; name a CLIP-like model as the memory's encoder"
            )

    @property
    def fingerprint(self) -> str:
        """Which model it belongs to; its vectors are kept for as long as it answers, not longer."""
        return f"the tower of {self._bundle.name}"

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """ValueError: it reads none."""
        raise ValueError(
            "a model's own tower sees pictures and reads no texts; make a memory with an --encoder"
        )

    def embed_images(self, images: list[PILImage.Image]) -> np.ndarray:
        """``(images, dim)``, float32."""
        return np.stack([self._vector(one) for one in images])

    def _vector(self, picture: PILImage.Image) -> np.ndarray:
        import torch
        import torch.nn.functional as F

        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "PNG")
        image = Image(bytes=buffer.getvalue(), width=picture.width, height=picture.height)
        inputs = self._bundle.vision([(image, None)], [1])
        named = inspect.signature(self._model.get_image_features).parameters
        given = {name: value.to(self._bundle.device) for name, value in inputs.items() if name in named}
        with torch.inference_mode():
            features = _tokens(self._model.get_image_features(**given))
            vector: Any = F.normalize(features.float().mean(0), dim=0)
        return np.asarray(vector.cpu().numpy())


def _tokens(output: Any) -> Any:
    """The tower's features ``(tokens, dim)``; where an output has none, what the connector made of them."""
    import torch

    found = getattr(output, "last_hidden_state", None)
    if found is None:
        found = getattr(output, "pooler_output", output)
    if isinstance(found, (list, tuple)):
        found = torch.cat([one.flatten(0, -2) for one in found])
    return found.flatten(0, -2)

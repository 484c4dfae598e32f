"""Features of a frozen tower, computed once for each picture and kept by content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vitrail.data.ahead import ahead
from vitrail.models.batches import Picture
from vitrail.models.towers.tower import Tower
from vitrail.storage.arrays import ArrayStore
from vitrail.storage.cache import key

DECODED_AHEAD = 2
"""Batches whose pictures are decoded while the tower computes the one before."""


def weights_fingerprint(module: torch.nn.Module) -> str:
    """A hash of every parameter and buffer, by name."""
    parts: list[Any] = []
    for name, value in sorted(module.state_dict().items()):
        parts += [
            name,
            str(value.dtype),
            value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes(),
        ]
    return key(*parts)


class FrozenTower:
    """The vision inputs of a model whose tower does not train: ``vision_features`` instead of pixels.

    Call :meth:`prepare` with the pictures of a run; what is missing in the cache is computed, the rest is read back.
    ``runtime``: ``"onnx"``, ``"torch"``, or ``"auto"`` (ONNX Runtime on a CPU where it is installed). ``dtype`` is
    what is stored. A picture that was not prepared is computed when it is asked for.
    """

    def __init__(
        self,
        tower: Tower,
        *,
        runtime: Literal["auto", "onnx", "torch"] = "auto",
        dtype: Literal["float16", "float32"] = "float16",
        cache: Path | None = None,
        batch_size: int = 32,
    ) -> None:
        self.tower = tower.eval()
        self.image_processor = tower.image_processor()
        self.dtype = dtype
        self.batch_size = batch_size
        self.root = cache / "arrays" if cache is not None else None
        weights = weights_fingerprint(tower)
        self._onnx = self._onnx_session(runtime, weights, cache)
        settings = plain_settings(self.image_processor)
        self.fingerprint = key("frozen-tower", weights, tower.settings(), settings, self.runtime)
        self._places: dict[str, tuple[ArrayStore, int]] = {}

    def _onnx_session(self, runtime: str, weights: str, cache: Path | None) -> Any:
        on_cpu = next(self.tower.parameters()).device.type == "cpu"
        if runtime == "torch" or (runtime == "auto" and not on_cpu):
            return None
        from vitrail.models.towers.onnx import OnnxTower

        try:
            return OnnxTower(self.tower, weights, cache=cache)
        except ImportError:
            if runtime == "onnx":
                raise
            return None

    @property
    def runtime(self) -> str:
        """What computes the features: ``"onnx"`` or ``"torch"``."""
        return "torch" if self._onnx is None else "onnx"

    def features(self, opened: Sequence[Any]) -> np.ndarray:
        """Features ``(images, count, width)`` of decoded pictures, float32, without the cache."""
        pixels = self.image_processor(images=list(opened), return_tensors="np")["pixel_values"]
        if self._onnx is not None:
            return self._onnx(pixels)
        parameter = next(self.tower.parameters())
        with torch.inference_mode():
            tokens = self.tower(
                torch.from_numpy(np.asarray(pixels)).to(parameter.device, parameter.dtype)
            ).tokens
        return tokens.float().cpu().numpy().reshape(len(opened), -1, self.tower.width)

    def prepare(self, pictures: Sequence[Picture], progress: Callable[[int, int], None] | None = None) -> int:
        """Compute and store what the cache does not have; returns how many pictures that was.

        ``progress(done, of)`` is called after each stored shard.
        """
        rows, cols = self.tower.grid(0, 0)
        names = [_content_key(picture) for picture in pictures]
        fresh = [index for index, name in enumerate(names) if name not in self._places]
        if not fresh:
            return 0
        wanted = [names[index] for index in fresh]
        store = ArrayStore(
            self.fingerprint, wanted, (rows * cols, self.tower.width), self.dtype, root=self.root
        )

        def compute(indices: list[int]) -> np.ndarray:
            batches = [
                [pictures[fresh[index]] for index in indices[start : start + self.batch_size]]
                for start in range(0, len(indices), self.batch_size)
            ]
            opened = ahead(batches, _opened, held=DECODED_AHEAD)
            return np.concatenate([self.features(batch).astype(self.dtype) for batch in opened])

        computed = store.fill(compute, progress)
        self._places.update({name: (store, place) for place, name in enumerate(wanted)})
        return computed

    def __call__(self, images: Sequence[Picture], counts: Sequence[int] | None = None) -> dict[str, Tensor]:
        """``vision_features (images, count, width)``, float32; ``{}`` for no pictures."""
        if not images:
            return {}
        self.prepare([image for image in images if _content_key(image) not in self._places])
        places = [self._places[_content_key(image)] for image in images]
        stacked = np.stack([store[index] for store, index in places]).astype(np.float32)
        return {"vision_features": torch.from_numpy(stacked)}


def _opened(pictures: Sequence[Picture]) -> list[Any]:
    return [image.open(root) for image, root in pictures]


def _content_key(picture: Picture) -> str:
    image, root = picture
    return key(image.read(root))


def plain_settings(image_processor: Any) -> dict[str, Any]:
    """The settings of an image processor that JSON can hold; none where there is no processor."""
    found = {} if image_processor is None else image_processor.to_dict()
    return {name: value for name, value in found.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, list, dict, type(None)))

"""A frozen tower through ONNX Runtime: several times faster on a CPU than eager convolutions.

The tower is exported once, checked against its PyTorch self, and kept in the cache under a hash of its weights.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.towers.tower import Tower
from vitrail.storage.cache import FolderCache, key

_TOLERANCE = 1e-3


class _Tokens(nn.Module):
    """The tower with a plain tensor result, as the exporter wants it."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens = self.tower(pixel_values).tokens
        return tokens.reshape(pixel_values.shape[0], -1, self.tower.width)


class OnnxTower:
    """The features of a frozen :class:`Tower`, computed by ONNX Runtime: ``pixels → (images, count, width)``.

    ImportError names the extra when onnx, onnxscript or onnxruntime is missing. ``threads`` is the number of cores.
    """

    def __init__(
        self, tower: Tower, fingerprint: str, *, cache: Path | None = None, threads: int | None = None
    ) -> None:
        try:
            import onnx  # noqa: F401
            import onnxruntime
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"towers through ONNX Runtime need {error.name}: pip install 'vitrail[onnx]'"
            ) from None
        folder = FolderCache(cache).get_or_make(
            # The settings too: the same weights may see another size, another layer, or several scales.
            key("onnx-tower", fingerprint, tower.settings(), torch.__version__, onnxruntime.__version__),
            lambda place: export(tower, place / "tower.onnx"),
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(
            folder / "tower.onnx", options, providers=["CPUExecutionProvider"]
        )

    def __call__(
        self, pixel_values: Float[np.ndarray, "images 3 height width"]
    ) -> Float[np.ndarray, "images count dim"]:
        """Features of a batch of pictures, float32."""
        return self._session.run(
            None, {"pixel_values": np.ascontiguousarray(pixel_values, dtype=np.float32)}
        )[0]


def export(tower: Tower, path: Path) -> None:
    """Write the tower as ONNX to ``path``. ValueError if the written model does not agree with the tower."""
    import onnxruntime

    size = tower.image_processor().size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, size["height"], size["width"], generator=generator)
    wrapped = _Tokens(tower).eval().float()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            (pixels[:2],),
            str(path),
            dynamo=True,
            input_names=["pixel_values"],
            output_names=["tokens"],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("images", min=1, max=1024)}},
            external_data=False,
            verbose=False,
        )
        expected = wrapped(pixels).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    difference = float(np.abs(session.run(None, {"pixel_values": pixels.numpy()})[0] - expected).max())
    if difference > _TOLERANCE * float(np.abs(expected).max()):
        raise ValueError(
            f"the exported tower differs from the original by {difference:.2g}; use runtime='torch'"
        )

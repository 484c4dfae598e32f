"""Pictures as small vectors: what looks alike is near, without any model."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

SIDE = 16


def thumbnail(picture: Any) -> Float[np.ndarray, "dim"]:
    """A decoded picture as a unit vector: 16 × 16 pixels without their mean."""
    small = np.asarray(picture.convert("RGB").resize((SIDE, SIDE)), np.float32).ravel()
    small = small - small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)

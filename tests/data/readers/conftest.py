import io

import numpy as np
import pytest
from PIL import Image as PILImage


def encoded(width=8, height=6, seed=0, format="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


@pytest.fixture
def png():
    return encoded


@pytest.fixture
def folder(tmp_path):
    """A folder with two pictures below it, one outside, and a symbolic link that leads there."""
    inside = tmp_path / "data"
    (inside / "pictures").mkdir(parents=True)
    (inside / "pictures" / "a.png").write_bytes(encoded(seed=1))
    (inside / "b.jpg").write_bytes(encoded(seed=2, format="JPEG"))
    (tmp_path / "secret.png").write_bytes(encoded(seed=3))
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "linked_folder").symlink_to(tmp_path)
    return inside

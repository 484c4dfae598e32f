"""The answering model's own tower as a memory's encoder, on tiny models of several families."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from vitrail.inference.own_tower import OwnTower
from vitrail.models.loading import load


def pictures():
    drawn = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    return [PILImage.fromarray(one) for one in drawn]


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "idefics3"])
def test_a_picture_has_one_vector_whatever_is_beside_it(saved_family, family):
    tower = OwnTower(load(str(saved_family(family))))
    found = tower.embed_images(pictures())
    assert found.shape[0] == 3 and found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.array_equal(found[2:], tower.embed_images(pictures()[2:]))
    assert np.abs(found[0] - found[1]).max() > 1e-4
    with pytest.raises(ValueError, match="reads no texts"):
        tower.embed_texts(["a dog"])


def test_it_is_the_mean_of_what_the_tower_gives(nano):
    import torch

    picture = pictures()[0].resize((32, 32))
    pixels = nano.processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        mean = nano.model.tower(pixels).tokens.mean(0)
    found = OwnTower(nano).embed_images([picture])[0]
    assert np.allclose(found, (mean / mean.norm()).numpy(), atol=1e-5)


def test_a_model_without_pictures_has_none(saved_family):
    from vitrail.models.testbeds import nano

    bundle = nano.build(seed=0)
    bundle.encoder.planner = None
    with pytest.raises(ValueError, match="no tower to find pictures by"):
        OwnTower(bundle)

"""Plans computed from sizes equal what the families' real image processors and models make of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import families
import family_files
from vitrail.data.image_plans.plan import Visual, plans_of
from vitrail.data.records import Image
from vitrail.models.batches import Pixels
from vitrail.models.families.table import family_of
from vitrail.models.folders import ProcessorParts


def sizes(count, largest=2000, seed=0):
    """Sizes over three magnitudes, with one-pixel sides and extreme shapes among them; few are large."""
    draws = np.random.default_rng(seed)
    edges = [
        (1, 1),
        (1, 2),
        (2, 1),
        (1, 150),
        (150, 1),
        (3, 500),
        (500, 3),
        (largest, 11),
        (9, largest),
        (16, 16),
    ]
    found = np.exp(
        draws.uniform(0, np.log(largest), (count, 2)) * draws.choice([1.0, 0.7], (count, 1))
    ).astype(int)
    return [*edges, *((int(w), int(h)) for w, h in found)][:count]


class Noise(Image):
    """A picture that is drawn when it is opened. Grey noise: nothing that a model could take for padding."""

    def open(self, root=None):
        draws = np.random.default_rng(self.width * 7919 + self.height)
        return PILImage.fromarray(draws.integers(1, 255, (self.height, self.width, 3), dtype=np.uint8))


def noise(width, height):
    return Noise(bytes=b"drawn", width=width, height=height)


@pytest.fixture(scope="module")
def parts():
    """Family, processor, model and planner of each family; each once."""
    found = {}

    def get(name):
        if name not in found:
            own = family_files.tokenizer(name)
            text = {"vocab_size": family_files.TOKENS}
            model = families.build(name, text=text, ids=family_files.ids(name, own))
            family = family_of(model.config)
            processor = ProcessorParts(own, family_files.image_processor(name))
            found[name] = family, processor, model, family.planner(processor, model.config)
        return found[name]

    return get


def real(family, processor, model, width, height, together=1):
    """Tiles as the model gets them ``[(width, height), …]``, and the features that come out for each picture."""
    pictures = [(noise(width, height), None)] * together
    inputs = Pixels(processor.image_processor, family.pixels)(pictures, [together])
    with torch.inference_mode():
        output = model.get_image_features(**inputs, return_dict=True).pooler_output
    features = [len(one.reshape(-1, one.shape[-1])) for one in output]
    if "image_grid_thw" in inputs:
        side = processor.image_processor.patch_size
        tiles = [(int(w) * side, int(h) * side) for _, h, w in inputs["image_grid_thw"]]
    else:
        values = inputs["pixel_values"]
        count = values[..., 0, 0, 0].numel()
        tiles = [(values.shape[-1], values.shape[-2])] * count
    return tiles, sum(features)


REFUSED = "aspect ratio"


def planned(parts, name, width, height):
    """Tiles and number of tokens that our plan gives, or the reason why it refuses the size."""
    try:
        plan = parts(name)[-1](width, height)
    except ValueError as refused:
        return REFUSED if REFUSED in str(refused) else str(refused)
    return [tile.size for tile in plan.tiles], plan.num_tokens


def made(parts, name, width, height):
    """The same of the family's own image processor and model."""
    family, processor, model, _ = parts(name)
    try:
        return real(family, processor, model, width, height)
    except ValueError as refused:
        return REFUSED if REFUSED in str(refused) else f"theirs: {refused}"


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_counts_equal_the_models(parts, name):
    for size in sizes(70, 800):
        assert planned(parts, name, *size) == made(parts, name, *size), size


@pytest.mark.long
@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_counts_of_a_thousand_sizes_equal_the_models(parts, name):
    for size in sizes(1000, seed=1):
        assert planned(parts, name, *size) == made(parts, name, *size), size


def test_crops_of_gemma_equal_the_models(parts):
    family, processor, model, _ = parts("gemma3")
    images = type(processor.image_processor)(
        size={"height": 16, "width": 16},
        do_pan_and_scan=True,
        pan_and_scan_min_crop_size=20,
        pan_and_scan_max_num_crops=5,
        pan_and_scan_min_ratio_to_activate=1.3,
    )
    with_crops = ProcessorParts(processor.tokenizer, images)
    planner = family.planner(with_crops, model.config)
    seen = set()
    for width, height in [*sizes(70, 800), (100, 20), (20, 100), (70, 25), (26, 20)]:
        plan = planner(width, height)
        pixels = Pixels(images, family.pixels)([(noise(width, height), None)])["pixel_values"]
        assert len(plan.tiles) == len(pixels) and plan.num_tokens == 4 * len(pixels), (width, height)
        seen.add(len(plan.tiles))
    assert seen >= {1, 3, 4, 5, 6}


def test_several_pictures_of_onevision_are_overviews(parts):
    family, processor, model, planner = parts("llava_onevision")
    for width, height in sizes(20, 300):
        plans = plans_of(planner, [(width, height)] * 2)
        tiles, features = real(family, processor, model, width, height, together=2)
        assert sum(plan.num_tokens for plan in plans) == features == 2 * 17
        assert len(tiles) == 2 and all(len(plan.tiles) == 1 for plan in plans)


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_a_picture_without_pixels_is_refused(parts, name):
    planner = parts(name)[-1]
    with pytest.raises(ValueError, match="0 × 5 pixels cannot be shown"):
        plans_of(planner, [(0, 5)])


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_coordinates_cover_each_tiles_grid_once(parts, name):
    planner = parts(name)[-1]
    for width, height in sizes(40, 700, seed=3):
        if max(width, height) > 200 * min(width, height):
            continue
        plan = planner(width, height)
        assert len(np.unique(plan.coords, axis=0)) == len(plan.coords)
        grid = plan.coords[plan.coords[:, 2] >= 0]
        for frame in np.unique(grid[:, 0]):
            own = grid[grid[:, 0] == frame]
            rows, cols = own[:, 1].max() + 1, own[:, 2].max() + 1
            assert own[:, 1:].tolist() == [[row, col] for row in range(rows) for col in range(cols)] or (
                name in ("llava_next", "llava_onevision") and len(own) == rows * cols
            )
        assert sum(len(span) for span in plan.spans if isinstance(span, Visual)) == plan.num_tokens


@pytest.mark.parametrize("name", ["llava_next", "internvl", "ovis2", "smolvlm", "idefics3"])
def test_tiles_cover_the_picture(parts, name):
    planner = parts(name)[-1]
    for size in [(100, 40), (40, 100), (64, 64), (300, 20)]:
        boxes = np.array([tile.box for tile in planner(*size).tiles])
        parts_only = np.array([box for box in boxes if tuple(box) != (0, 0, 1, 1)])
        if not len(parts_only):
            continue
        assert (parts_only[:, :2].min(0) <= 1e-9).all() and (parts_only[:, 2:].max(0) >= 1 - 1e-9).all()
        inside = np.clip(parts_only, 0, 1)
        areas = (inside[:, 2] - inside[:, 0]) * (inside[:, 3] - inside[:, 1])
        assert areas.sum() == pytest.approx(1)

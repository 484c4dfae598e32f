"""Plans with the settings of published checkpoints equal what transformers itself counts from sizes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vitrail.data.image_plans.any_resolution import AnyResolution
from vitrail.data.image_plans.dynamic_tiles import DynamicTiles
from vitrail.data.image_plans.native import NativeResolution
from vitrail.data.image_plans.pan_and_scan import PanAndScan
from vitrail.data.image_plans.plan import Marker, Visual
from vitrail.data.image_plans.split_tiles import SplitTiles

NEXT = tuple((336 * a, 336 * b) for a, b in [(1, 2), (2, 1), (2, 2), (3, 1), (1, 3)])
ONEVISION = tuple((384 * a, 384 * b) for a in range(1, 7) for b in range(1, 7))


def random_sizes(count=1000, largest=4000, seed=0):
    draws = np.random.default_rng(seed)
    found = np.exp(draws.uniform(0, np.log(largest), (count, 2))).astype(int)
    return [(int(w), int(h)) for w, h in found]


def test_llava_next():
    from transformers import LlavaNextProcessor

    images = SimpleNamespace(image_grid_pinpoints=[list(pair) for pair in NEXT])
    counting = LlavaNextProcessor.__new__(LlavaNextProcessor)
    counting.image_processor, counting.patch_size, counting.num_additional_image_tokens = images, 14, 0
    planner = AnyResolution(NEXT, 336, 24)
    for width, height in random_sizes():
        assert planner(width, height).num_tokens == counting._get_number_of_features(height, width, 336, 336)
    assert planner(672, 672).num_tokens == 576 + 48 * 49


def test_llava_onevision():
    from transformers import LlavaOnevisionProcessor

    images = SimpleNamespace(image_grid_pinpoints=[list(pair) for pair in ONEVISION])
    counting = LlavaOnevisionProcessor.__new__(LlavaOnevisionProcessor)
    counting.image_processor, counting.num_image_tokens = images, 729
    counting.vision_aspect_ratio = "anyres_max_9"
    planner = AnyResolution(ONEVISION, 384, 27, max_tiles=9, alone=True)
    for width, height in random_sizes():
        assert planner(width, height).num_tokens == counting._get_number_of_features(height, width, 384, 384)


@pytest.mark.parametrize(
    ("patch", "least", "most"),
    [(14, 56 * 56, 28 * 28 * 1280), (14, 4 * 28 * 28, 12845056), (16, 65536, 16777216)],
)
def test_qwen(patch, least, most):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    planner = NativeResolution(patch, 2, least, most)
    refused = 0
    for width, height in random_sizes():
        if max(width, height) / min(width, height) > 200:
            refused += 1
            with pytest.raises(ValueError, match=f"{width} × {height} pixels has an aspect ratio of"):
                planner(width, height)
            continue
        high, wide = smart_resize(height, width, patch * 2, least, most)
        plan = planner(width, height)
        assert plan.tiles[0].size == (wide, high)
        assert plan.num_tokens == (high // (2 * patch)) * (wide // (2 * patch))
    assert refused > 10


@pytest.mark.parametrize(("tile", "grid", "most"), [(448, 16, 12), (448, 16, 6), (448, 16, 1)])
def test_internvl(tile, grid, most):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    images = GotOcr2ImageProcessorPil(
        size={"height": tile, "width": tile}, crop_to_patches=True, min_patches=1, max_patches=most
    )
    planner = DynamicTiles(
        tile=tile,
        grid=grid,
        crop=True,
        min_tiles=1,
        max_tiles=most,
        choice="aspect",
        thumbnail="last",
        begin="<img>",
        end="</img>",
    )
    for width, height in random_sizes():
        plan = planner(width, height)
        assert len(plan.tiles) == images.get_number_of_image_patches(height, width)
        assert plan.num_tokens == len(plan.tiles) * grid * grid
        assert plan.spans[0] == Marker("<img>") and plan.spans[-1] == Marker("</img>")


@pytest.mark.parametrize("covering", [True, False])
def test_ovis2(covering):
    from transformers.models.ovis2 import image_processing_pil_ovis2 as theirs

    planner = DynamicTiles(
        tile=448,
        grid=16,
        crop=True,
        min_tiles=1,
        max_tiles=9,
        choice="covering" if covering else "aspect",
        thumbnail="first",
        begin="<IMG_START>",
        after_thumbnail="<IMG_GRID>",
        between_cols="<IMG_COL>",
        between_rows="<IMG_ROW>",
        end="<IMG_END>",
    )
    for width, height in random_sizes():
        if covering:
            cols, rows = theirs.get_min_tile_covering_grid((height, width), 448, 9)
        else:
            cols, rows = theirs.get_optimal_tiled_canvas((height, width), (448, 448), 1, 9)
        assert planner.layout(width, height) == (rows, cols)
        marks = [span.text for span in planner(width, height).spans if isinstance(span, Marker)]
        assert marks.count("<IMG_ROW>") == rows - 1 and marks.count("<IMG_COL>") == rows * (cols - 1)


@pytest.mark.parametrize(("longest", "tile"), [(1456, 364), (1820, 364), (2048, 512), (1500, 364), (50, 15)])
def test_idefics(longest, tile):
    from transformers.models.idefics3 import image_processing_pil_idefics3 as theirs

    images = theirs.Idefics3ImageProcessorPil(
        size={"longest_edge": longest}, max_image_size={"longest_edge": tile}
    )
    planner = SplitTiles(longest, tile, 8)
    sized = {}

    class Sizes(theirs.Idefics3ImageProcessorPil):
        """The real cut, on sizes alone."""

        def resize(self, image, size, resample=None):
            sized["to"] = (size.height, size.width)

    cutter = Sizes(size={"longest_edge": longest}, max_image_size={"longest_edge": tile})
    for width, height in random_sizes(400):
        high, wide = theirs._resize_output_size_rescale_to_max_len(height, width, max_len=longest)
        high, wide = theirs._resize_output_size_scale_below_upper_bound(high, wide, max_len=4096)
        cutter.resize_for_vision_encoder(np.broadcast_to(np.uint8(0), (3, high, wide)), tile)
        rows, cols = (side // tile for side in sized["to"])
        plan = planner(width, height)
        expected = (rows, cols) if (rows, cols) != (1, 1) else (0, 0)
        assert planner.layout(width, height) == expected
        assert len(plan.tiles) == expected[0] * expected[1] + 1
    assert images.size["longest_edge"] == longest


def test_gemma3_with_crops():
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    images = Gemma3ImageProcessorPil()
    planner = PanAndScan((896, 896), 16, crops=True)
    seen = set()
    for width, height in random_sizes():
        blank = np.broadcast_to(np.uint8(0), (3, height, width))
        crops = images.pan_and_scan(blank, 256, 4, 1.2)
        plan = planner(width, height)
        assert len(plan.tiles) == 1 + len(crops)
        for tile, crop in zip(plan.tiles[1:], crops, strict=True):
            left, top, right, bottom = tile.box
            assert (
                round((right - left) * width) == crop.shape[2]
                and round((bottom - top) * height) == crop.shape[1]
            )
        assert sum(isinstance(span, Visual) for span in plan.spans) == len(plan.tiles)
        seen.add(len(crops))
    assert seen == {0, 2, 3, 4}

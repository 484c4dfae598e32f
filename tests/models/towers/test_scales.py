"""S²'s arithmetic against naive loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitrail.models.towers.scales import (
    enlarged,
    merge_tiles,
    multiscale_forward,
    relative_flops,
    resized,
    sizes_of,
    split_tiles,
)


class Encoder(nn.Module):
    """Patches of 4 through a linear map with a nonlinearity, and ``prefix`` tokens made of means in front."""

    def __init__(self, dim=6, prefix=0, position=False):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.patch = nn.Conv2d(3, dim, 4, 4)
            self.position = torch.randn(dim, 4, 4) if position else None
        self.prefix = prefix

    def forward(self, x):
        grid = self.patch(x)
        if self.position is not None:
            grid = grid + F.interpolate(self.position[None], grid.shape[-2:])
        tokens = torch.tanh(grid).flatten(2).mT
        front = [tokens.square().mean(1, keepdim=True) * (one + 1) for one in range(self.prefix)]
        return torch.cat([*front, tokens], 1)


def pictures(side=16, images=3, seed=0):
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("side", "n"), [(12, 1), (12, 2), (12, 3), (12, 4), (12, 6), (12, 12)])
def test_cutting_and_stitching_are_inverse(side, n):
    x = pictures(side)
    tiles = split_tiles(x, n)
    assert tiles.shape == (n * n * 3, 3, side // n, side // n)
    assert torch.equal(merge_tiles(tiles, n), x)
    # tile row, tile column, picture: the picture runs fastest
    step = side // n
    for row in range(n):
        for col in range(n):
            for image in range(3):
                expected = x[image, :, row * step : (row + 1) * step, col * step : (col + 1) * step]
                assert torch.equal(tiles[(row * n + col) * 3 + image], expected)


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_one_scale_is_the_encoder_itself(prefix):
    encode, x = Encoder(prefix=prefix, position=True), pictures()
    assert torch.equal(multiscale_forward(encode, x, scales=[1], num_prefix_tokens=prefix), encode(x))


def test_a_stitched_map_is_that_of_the_whole_picture():
    conv, x = Encoder().patch, pictures()
    whole = conv(resized(x, 48))
    for layout, encode in (("bchw", conv), ("bnc", lambda tiles: conv(tiles).flatten(2).mT)):
        found = multiscale_forward(encode, x, sizes=[48], max_split_size=16, layout=layout)
        expected = whole if layout == "bchw" else whole.flatten(2).mT
        assert torch.allclose(found, expected, atol=1e-6)
    # and it is pooled only after it was stitched
    both = multiscale_forward(conv, x, scales=[1, 3], layout="bchw")
    assert torch.allclose(both[:, 6:], F.adaptive_avg_pool2d(whole, 4), atol=1e-6)


def test_the_first_channels_are_the_single_scale():
    encode, x = Encoder(position=True), pictures()
    found = multiscale_forward(encode, x, scales=[1, 2, 3])
    assert found.shape == (3, 16, 18)
    assert torch.equal(found[..., :6], encode(x))
    assert not torch.allclose(found[..., 6:12], found[..., :6], atol=1e-2)


def test_chunks_give_the_same():
    encode, x = Encoder(prefix=2, position=True), pictures()
    seen = []

    def counted(tiles):
        seen.append(len(tiles))
        return encode(tiles)

    whole = multiscale_forward(encode, x, scales=[1, 2, 3], num_prefix_tokens=2)
    parts = multiscale_forward(counted, x, scales=[1, 2, 3], num_prefix_tokens=2, chunked=True)
    assert torch.allclose(whole, parts, atol=1e-5)
    assert seen == [3] * 14  # never more than the pictures that came in


def test_a_constant_picture_is_the_same_at_every_scale():
    found = multiscale_forward(Encoder(), torch.full((2, 3, 16, 16), 0.3), scales=[1, 2, 3])
    for scale in (1, 2):
        assert torch.allclose(found[..., 6 * scale : 6 * scale + 6], found[..., :6], atol=1e-5)


def test_prefix_tokens_are_means_over_tiles():
    encode, x = Encoder(prefix=2, position=True), pictures()
    found = multiscale_forward(encode, x, scales=[1, 2, 3], num_prefix_tokens=2)
    assert found.shape == (3, 18, 18)
    for index, n in enumerate((1, 2, 3)):
        large = resized(x, 16 * n)
        for image in range(3):
            tiles = [
                encode(large[image : image + 1, :, 16 * r : 16 * r + 16, 16 * c : 16 * c + 16])[0, :2]
                for r in range(n)
                for c in range(n)
            ]
            expected = torch.stack(tiles).mean(0)
            assert torch.allclose(found[image, :2, 6 * index : 6 * index + 6], expected, atol=1e-5)


def test_the_resolution_may_be_that_of_another_size():
    found = multiscale_forward(Encoder(), pictures(), scales=[1, 2], resize_to=-1)
    assert found.shape == (3, 64, 12)


def test_gradients_reach_the_encoder_through_every_scale():
    encode = Encoder()
    found = multiscale_forward(encode, pictures(), scales=[1, 2])
    for part in (found[..., :6], found[..., 6:]):
        (gradient,) = torch.autograd.grad(part.sum(), encode.patch.weight, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_half_precision_keeps_its_type_and_resizes_in_full():
    encode, x = Encoder().bfloat16(), pictures().bfloat16()
    seen = []
    found = multiscale_forward(lambda tiles: (seen.append(tiles), encode(tiles))[1], x, scales=[1, 2])
    assert found.dtype == torch.bfloat16
    expected = F.interpolate(x.float(), size=(32, 32), mode="bicubic").bfloat16()
    assert torch.equal(merge_tiles(seen[1], 2), expected)


def test_cost_relative_to_one_pass():
    found = [relative_flops(sizes_of(scales, 224), 224) for scales in ((1,), (1, 2), (1, 2, 3), (0.5, 1))]
    assert found == [1, 5, 14, 1.25]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of scales and sizes"),
        ({"scales": [1], "sizes": [16]}, "exactly one of scales and sizes"),
        ({"scales": []}, "scales is empty"),
        ({"scales": [1, 0]}, "scales holds 0"),
        ({"scales": [1, -2]}, "scales holds -2"),
        ({"sizes": [0]}, "sizes holds 0"),
        ({"sizes": [17]}, r"sizes holds 17, .* cannot be divided by 2; use 16 or 18"),
        ({"scales": [1, 2], "resize_to": 2}, "resize_to is 2, but there are 2 sizes"),
        ({"scales": [1], "num_prefix_tokens": 1}, "16 tokens, 1 of them .* 15 are no square"),
        ({"scales": [1], "num_prefix_tokens": 1, "layout": "bchw"}, "num_prefix_tokens is 1, but a map"),
        ({"scales": [1], "layout": "bchw"}, "encode returned 3 axes"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        multiscale_forward(Encoder(), pictures(), **settings)


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match=r"pixel_values are 20 × 16; S² takes square pictures"):
        multiscale_forward(Encoder(), torch.zeros(1, 3, 16, 20), scales=[1])
    with pytest.raises(ValueError, match="encode returned tuple"):
        multiscale_forward(lambda tiles: (tiles,), pictures(), scales=[1])
    with pytest.raises(ValueError, match="cannot be cut into 5"):
        split_tiles(pictures(), 5)
    with pytest.raises(ValueError, match="3 tiles are no whole number of pictures"):
        merge_tiles(pictures(), 2)


def test_an_image_processor_delivers_larger_pictures():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    one = SiglipImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.1, 0.2, 0.3])
    two = enlarged(one, 3)
    assert (two.size["height"], two.size["width"], *two.image_mean) == (48, 48, 0.1, 0.2, 0.3)
    assert one.size["height"] == 16 and enlarged(one, 1) is one
    cropped = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    large = enlarged(cropped, 2)
    assert large.size["shortest_edge"] == 32 and large.crop_size["height"] == 32
    with pytest.raises(ValueError, match="has no fixed size"):
        enlarged(Qwen2VLImageProcessorPil(), 2)

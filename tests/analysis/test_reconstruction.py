"""The linear probe against least squares done at once."""

import math

import pytest
import torch

from vitrail.analysis.reconstruction import Information, LinearReconstruction


def tokens(count=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator) + 2
    hidden = torch.randn(count, 2, generator=generator)
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(9))
    return x, x @ weight + 1 + torch.nn.functional.pad(hidden, (0, 2))


def test_it_is_least_squares_with_a_constant():
    x, y = tokens()
    probe = LinearReconstruction(ridge=0)
    for part in range(0, 400, 128):
        probe.add(x[part : part + 128], y[part : part + 128])
    weight, bias = probe.solve()
    ones = torch.cat([x, torch.ones(400, 1)], 1).double()
    expected = torch.linalg.lstsq(ones, y.double()).solution
    assert torch.allclose(torch.cat([weight, bias[None]]), expected, atol=1e-6)
    found = probe.information(x, y)
    assert found.loss == pytest.approx(float((ones @ expected - y).square().mean()), rel=1e-6)
    assert found.dummy_loss == pytest.approx(float(y.double().var(0, unbiased=False).mean()), rel=1e-6)
    assert found.nats == pytest.approx(-math.log(found.loss / found.dummy_loss))


def test_information_is_nothing_for_noise_and_all_for_itself():
    x, y = tokens(2000)
    noise = torch.randn(2000, 6, generator=torch.Generator().manual_seed(5))
    nothing = LinearReconstruction()
    nothing.add(noise, y)
    assert 0 <= nothing.information(noise, y).nats < 0.02
    everything = LinearReconstruction(ridge=0)
    everything.add(y, y)
    assert everything.information(y, y).nats > 20
    some = LinearReconstruction()
    some.add(x, y)
    found = some.information(x, y)
    assert found.ratio(Information(found.loss / 2, found.dummy_loss, 1)) < 1


def test_channels_that_repeat_add_nothing():
    x, y = tokens()
    found = []
    for source in (x, torch.cat([x, x, x], 1)):
        probe = LinearReconstruction()
        probe.add(source, y)
        found.append(probe.information(source, y).nats)
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_several_scales_hold_what_one_does_not():
    """A target that reads fine detail: found in the tokens of two scales, not in those of one."""
    from torch.nn.functional import avg_pool2d

    from vitrail.models.towers.scales import multiscale_forward

    pictures = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    small = lambda x: avg_pool2d(x, 4)  # noqa: E731
    detail = avg_pool2d(pictures[..., 1:, :-1].abs(), 1)
    target = avg_pool2d(torch.nn.functional.pad(detail, (0, 1, 1, 0)), 8)
    found = []
    for scales in ((0.5,), (0.5, 1)):
        encode = lambda x: small(x).abs()  # noqa: E731
        features = multiscale_forward(encode, pictures, scales=scales, max_split_size=8, layout="bchw")
        probe = LinearReconstruction()
        probe.add(features.permute(0, 2, 3, 1), target.permute(0, 2, 3, 1))
        found.append(probe.information(features.permute(0, 2, 3, 1), target.permute(0, 2, 3, 1)).nats)
    assert found[1] > found[0]


def test_bad_input_is_named():
    x, y = tokens()
    probe = LinearReconstruction()
    with pytest.raises(ValueError, match="0 tokens have no linear map"):
        probe.solve()
    with pytest.raises(ValueError, match="bring both to one grid"):
        probe.add(x, y[:-1])
    with pytest.raises(ValueError, match="target holds NaN"):
        probe.add(x, y * torch.nan)
    probe.add(x, y)
    with pytest.raises(ValueError, match="came after"):
        probe.add(x[:, :3], y)
    with pytest.raises(ValueError, match="for a map from 6 to 4"):
        probe.information(x[:, :3], y)
    with pytest.raises(ValueError, match="ridge is -1"):
        LinearReconstruction(-1)
    with pytest.raises(ValueError, match="finds nothing to compare with"):
        Information(1, 2, 1).ratio(Information(2, 2, 1))

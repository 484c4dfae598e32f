"""The Fréchet distance against closed forms; its three ways to the root against each other."""

from typing import get_args

import pytest
import torch

from vitrail.analysis.frechet import Method, Moments, RunningMoments, frechet_distance, frechet_of_moments

METHODS = get_args(Method)


def cloud(rows, dim, seed=0, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / dim**0.5 + torch.eye(dim)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64) @ mix * scale + shift


@pytest.mark.parametrize("method", METHODS)
def test_nothing_lies_between_equal_clouds(method):
    for rows in (200, 10):
        x = cloud(rows, 16)
        assert frechet_distance(x, x, method) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_diagonal_gaussians_have_a_closed_form(method):
    a, b = torch.rand(12, dtype=torch.float64) + 0.1, torch.rand(12, dtype=torch.float64) + 0.1
    gap = torch.randn(12, dtype=torch.float64)
    found = frechet_of_moments(Moments(9, gap, a.diag()), Moments(9, 0 * gap, b.diag()), method)
    expected = gap.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_three_ways_agree():
    x, y = cloud(400, 24, 1), cloud(300, 24, 2, scale=1.7, shift=0.2)
    found = [frechet_distance(x, y, method) for method in METHODS]
    assert found == pytest.approx([found[0]] * 3, rel=1e-2)
    assert found[2] == pytest.approx(found[0], rel=1e-6)
    assert frechet_distance(y, x) == pytest.approx(found[0], rel=1e-9)


@pytest.mark.parametrize(("rows", "others"), [(6, 9), (6, 100), (100, 6)])
def test_fewer_rows_than_dimensions(rows, others):
    """Against the singular values of the centred rows themselves, which no covariance is needed for."""
    x, y = cloud(rows, 32, 1), cloud(others, 32, 2, scale=2.0)
    found = [frechet_distance(x, y, method) for method in METHODS]
    a, b = ((one - one.mean(0)) / (len(one) - 1) ** 0.5 for one in (x, y))
    root = torch.linalg.svdvals(a @ b.T).sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * root
    assert found == pytest.approx([float(expected)] * 3, rel=1e-2)


def test_badly_scaled_covariances_still_converge():
    spread = torch.logspace(0, -8, 24, dtype=torch.float64)
    x, y = Moments(9, spread * 0, spread.diag()), Moments(9, spread * 0, (2 * spread).flip(0).diag())
    found = [frechet_of_moments(x, y, method) for method in ("eig", "newton_schulz")]
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_a_cloud_without_spread():
    x, y = torch.ones(4, 8), cloud(50, 8)
    expected = (1 - y.mean(0)).square().sum() + (y - y.mean(0)).square().sum() / 49
    assert [frechet_distance(x, y, method) for method in METHODS] == pytest.approx(
        [float(expected)] * 3, rel=1e-3
    )


def test_moments_in_parts_are_those_of_the_whole():
    x = cloud(101, 8, shift=50.0)
    sums = RunningMoments(8)
    for part in (x[:3], x[3:3], x[3:64], x[64:]):
        sums.add(part.float())
    found = sums.moments()
    assert torch.allclose(found.mean, x.mean(0), rtol=1e-6)
    assert torch.allclose(found.covariance, torch.cov(x.T), rtol=1e-3, atol=1e-4)
    assert found.count == 101 and sums.norms == pytest.approx(float(x.norm(dim=-1).sum()), rel=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="4 and 5 dimensions"):
        frechet_distance(torch.ones(3, 4), torch.ones(3, 5))
    with pytest.raises(ValueError, match="1 vectors have no covariance"):
        frechet_distance(torch.ones(1, 4), torch.ones(3, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        frechet_distance(torch.full((3, 4), torch.nan), torch.ones(3, 4))
    with pytest.raises(ValueError, match="method is 'fast'; known: eig, sqrtm, newton_schulz"):
        frechet_distance(torch.rand(3, 4), torch.rand(3, 4), "fast")

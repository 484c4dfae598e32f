"""Every connector: its token count is known from sizes alone, and it treats each picture for itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vitrail import registry
from vitrail.models.connectors.mlp import MLPConnector
from vitrail.models.features import Features, grid_coords
from vitrail.models.vlm import build_connector

CONNECTORS = {
    "mlp": {"name": "mlp", "pool": 2},
    "mlp-unpooled": {"name": "mlp", "pool": None, "cell_embedding": False, "hidden": 24},
    "mlp-plain": {"name": "mlp", "pool": 3, "norm": False, "cell_embedding": False},
}


def ragged(*shapes, dim=16, seed=0):
    torch.manual_seed(seed)
    counts = [rows * cols for rows, cols in shapes]
    coords = torch.cat([grid_coords(rows, cols) for rows, cols in shapes])
    return Features(torch.randn(sum(counts), dim), torch.tensor(counts), coords)


@pytest.mark.parametrize("name", CONNECTORS)
def test_contract(name):
    torch.manual_seed(0)
    connector = build_connector(CONNECTORS[name], tower_width=16, hidden_size=32).eval()
    features = ragged((4, 4), (4, 4), (4, 4))
    tokens, lengths = connector(features)
    assert lengths.tolist() == [connector.num_tokens(4, 4)] * 3 and tokens.shape == (int(lengths.sum()), 32)
    alone, _ = connector(Features.from_grid(features.tokens[16:32][None], 4, 4))
    torch.testing.assert_close(alone, tokens[int(lengths[0]) : int(lengths[:2].sum())])
    tokens.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in connector.parameters())
    half, _ = connector.to(torch.bfloat16)(
        Features(features.tokens.bfloat16(), features.lengths, features.coords)
    )
    assert torch.isfinite(half.float()).all()


@pytest.mark.parametrize("name", CONNECTORS)
def test_pictures_of_different_grids(name):
    connector = build_connector(CONNECTORS[name], tower_width=16, hidden_size=32).eval()
    features = ragged((4, 4), (6, 3), (3, 5))
    tokens, lengths = connector(features)
    assert lengths.tolist() == [connector.num_tokens(*shape) for shape in ((4, 4), (6, 3), (3, 5))]
    alone, _ = connector(Features.from_grid(features.tokens[16:34][None], 6, 3))
    torch.testing.assert_close(alone, tokens[int(lengths[0]) : int(lengths[:2].sum())])


def test_every_registered_connector_is_under_contract():
    assert {settings["name"] for settings in CONNECTORS.values()} == set(registry.names("connector"))


def test_mlp_is_the_equation():
    connector = MLPConnector(MLPConnector.Config(pool=2), tower_width=8, hidden_size=4)
    torch.nn.init.normal_(connector.cells)
    x = torch.randn(1, 4, 4, 8)
    normed = F.layer_norm(x, (8,), connector.norm.weight, connector.norm.bias)
    cells = [normed[0, i : i + 2, j : j + 2].mean((0, 1)) for i in (0, 2) for j in (0, 2)]
    hidden = F.gelu(torch.stack(cells) @ connector.up.weight.T + connector.up.bias)
    expected = hidden @ connector.down.weight.T + connector.down.bias + connector.cells
    tokens, _ = connector(Features.from_grid(x.flatten(1, 2), 4, 4))
    torch.testing.assert_close(tokens, expected)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"cell_embedding needs connector\.pool"):
        MLPConnector(MLPConnector.Config(pool=None), tower_width=8, hidden_size=4)
    with pytest.raises(ValueError, match="no connector is called 'mpl'; did you mean 'mlp'"):
        build_connector({"name": "mpl"}, tower_width=8, hidden_size=4)
    with pytest.raises(ValueError, match="pool"):
        MLPConnector.Config(pool=0)

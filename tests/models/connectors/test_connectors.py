"""Every connector: its token count is known from sizes alone, and it treats each picture for itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vitrail import registry
from vitrail.models.connectors.grids import grouped
from vitrail.models.connectors.mlp import MLPConnector, parameters_of
from vitrail.models.features import Features, grid_coords
from vitrail.models.vlm import build_connector

CONNECTORS = {
    "mlp": {"name": "mlp", "pool": 2},
    "mlp-unpooled": {"name": "mlp", "pool": None, "cell_embedding": False, "hidden": 24},
    "mlp-plain": {"name": "mlp", "pool": 3, "norm": False, "cell_embedding": False},
    "mlp-blocks": {"name": "mlp", "pool": 4, "stride": 2},
    "mlp-matched": {"name": "mlp", "pool": 2, "match": {"name": "ovis", "words": 64}},
    "resampler": {"name": "resampler", "latents": 6, "depth": 2, "heads": 2, "head_dim": 8},
    "ovis": {"name": "ovis", "words": 32},
    "ovis-pooled": {"name": "ovis", "words": 32, "pool": 4, "stride": 2, "chunk": 3},
    "ovis-few": {"name": "ovis", "words": 32, "topk": 4, "reserved": 0},
    "ovis-argmax": {"name": "ovis", "words": 32, "tokenise": "st_argmax"},
    "ovis-gumbel": {"name": "ovis", "words": 32, "tokenise": "gumbel", "tau": 0.5},
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


def test_blocks_hold_their_neighbours_and_nothing_else():
    rows, cols, s = 6, 4, 2
    where = grid_coords(rows, cols)[:, 1:].float()
    features = Features.from_grid(where[None], rows, cols)
    two = ragged((rows, cols), (4, 2), dim=2)
    two = Features(torch.cat([where, grid_coords(4, 2)[:, 1:].float()]), two.lengths, two.coords)
    for given in (features, two):
        blocks = grouped(given, s)
        assert blocks.tokens.shape[1] == s * s * 2 and blocks.lengths[0] == 6
        for token, (_, row, col) in zip(blocks.tokens, blocks.coords.tolist(), strict=True):
            inside = [[row * s + i, col * s + j] for i in range(s) for j in range(s)]
            assert token.reshape(-1, 2).tolist() == inside
    with pytest.raises(ValueError, match="grid of 3 × 4 tokens is not made of whole blocks"):
        grouped(ragged((3, 4)), 2)


def test_a_matched_mlp_has_as_many_parameters():
    for width, hidden, words in ((16, 32, 300), (1280, 576, 4096)):
        other = {"name": "ovis", "words": words, "pool": 4}
        wanted = parameters_of(other, width, hidden)
        with torch.device("meta"):
            mlp = build_connector({"name": "mlp", "pool": 4, "match": other}, width, hidden)
        count = sum(p.numel() for p in mlp.parameters())
        assert abs(count - wanted) <= (width + 1 + hidden) / 2
    with pytest.raises(ValueError, match="a smaller one cannot be the control"):
        build_connector({"name": "mlp", "match": {"name": "ovis", "words": 4, "reserved": 0}}, 16, 512)
    with pytest.raises(ValueError, match=r"leave connector\.hidden out"):
        build_connector({"name": "mlp", "hidden": 8, "match": {"name": "ovis"}}, 16, 32)

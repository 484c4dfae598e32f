"""The Perceiver Resampler: as many tokens whatever comes in, and no order of patches."""

from __future__ import annotations

import torch

from vitrail.models.connectors.resampler import PerceiverResampler
from vitrail.models.features import Features


def test_64_tokens_for_any_number_of_patches_in_any_order():
    torch.manual_seed(0)
    connector = PerceiverResampler(PerceiverResampler.Config(), tower_width=16, hidden_size=24).eval()
    for rows, cols in ((1, 1), (3, 5), (14, 14)):
        tokens, lengths = connector(Features.from_grid(torch.randn(2, rows * cols, 16), rows, cols))
        assert tokens.shape == (128, 24) and lengths.tolist() == [64, 64]
    features = torch.randn(1, 12, 16)
    order = torch.randperm(12)
    same, _ = connector(Features.from_grid(features, 3, 4))
    moved, _ = connector(Features.from_grid(features[:, order], 3, 4))
    torch.testing.assert_close(moved, same, atol=1e-5, rtol=1e-4)
    other, _ = connector(Features.from_grid(torch.randn(1, 12, 16), 3, 4))
    assert (other - same).abs().max() > 1e-3

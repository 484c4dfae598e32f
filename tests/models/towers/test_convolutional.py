"""The convolutional tower: one grid for every depth, features of cells that depend on no other picture."""

import pytest
import torch

from vitrail.models.towers.convolutional import ConvolutionalTower


def tower(**settings):
    torch.manual_seed(0)
    return ConvolutionalTower(ConvolutionalTower.Config(**settings))


@pytest.mark.parametrize(
    ("side", "channels", "expected"), [(64, (8, 16, 24), 8), (50, (8, 16), 13), (8, (4,), 4)]
)
def test_the_grid_is_the_side_halved_so_often(side, channels, expected):
    built = tower(image_size=side, channels=channels, blocks=1)
    assert built.grid(999, 1) == (expected, expected)
    assert len(built(torch.zeros(2, 3, side, side)).tokens) == 2 * expected**2


def test_hidden_states_stand_over_the_same_cells():
    built = tower(channels=(8, 16, 24), blocks=3).eval()
    features = built(torch.randn(2, 3, 64, 64))
    assert len(features.hidden_states) == 4
    assert all(state.shape == features.tokens.shape for state in features.hidden_states)
    last = torch.nn.functional.layer_norm(
        features.hidden_states[-1], (24,), built.norm.weight, built.norm.bias
    )
    torch.testing.assert_close(last, features.tokens)
    assert not torch.allclose(features.hidden_states[0], features.hidden_states[1])


def test_a_cell_sees_its_surroundings_and_stays_in_place():
    """A dot moves the features of its own cell most, and those of the far corner not at all."""
    built = tower(channels=(8, 16), blocks=1, kernel=3, image_size=64).eval()
    empty, dot = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    dot[..., 40, 20] = 3
    change = (built(dot).tokens - built(empty).tokens).norm(dim=-1).reshape(16, 16)
    assert divmod(int(change.argmax()), 16) == (10, 5)
    assert float(change[0, 15]) == 0


def test_training_mode_changes_nothing():
    built, pixels = tower(channels=(8, 16), blocks=1), torch.randn(3, 3, 64, 64)
    assert torch.equal(built.train()(pixels).tokens, built.eval()(pixels).tokens)
    assert not dict(built.named_buffers())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"kernel": 4}, "kernel is 4.*odd"), ({"channels": (8, 0)}, r"channels is \[8, 0\].*1 or more")],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tower(**settings)

"""The relation matrix and its loss: what it is invariant to, and what it is not."""

import pytest
import torch

from vitrail.objectives.relations import relation_loss, relations


def tokens(count, dim, seed):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_relations_are_cosines():
    found = relations(tokens(7, 5, 0))
    assert found.shape == (7, 7)
    torch.testing.assert_close(found.diagonal(), torch.ones(7))
    torch.testing.assert_close(found, found.T)


def test_rotation_scale_and_width_do_not_matter():
    own, other = tokens(7, 5, 0), tokens(7, 11, 1)
    loss = relation_loss(own, other, [7])
    assert 0 < float(loss) < 2
    turn, _ = torch.linalg.qr(tokens(5, 5, 2))
    lengths = torch.rand(7, 1, generator=torch.Generator().manual_seed(3)) + 0.1
    torch.testing.assert_close(relation_loss(own @ turn * lengths, 3.0 * other, [7]), loss)
    assert abs(float(relation_loss(own, own @ turn, [7]))) < 1e-6
    opposite = torch.tensor([[1.0, 0], [-1, 0]])
    alike = torch.tensor([[1.0, 0], [1, 0]])
    torch.testing.assert_close(relation_loss(opposite, alike, [2]), torch.tensor(1.0))


def test_each_picture_has_its_own_matrix():
    own, other = tokens(9, 5, 0), tokens(9, 6, 1)
    apart = relation_loss(own[:4], other[:4], [4]) + relation_loss(own[4:], other[4:], [5])
    torch.testing.assert_close(relation_loss(own, other, [4, 5]), apart)


def test_one_token_and_no_token_are_no_loss_and_no_nan():
    own = tokens(1, 5, 0).requires_grad_()
    found = relation_loss(own, tokens(1, 3, 1), [1])
    found.backward()
    assert abs(float(found.detach())) < 1e-6 and torch.isfinite(own.grad).all()
    none = relation_loss(torch.zeros(0, 5, requires_grad=True), torch.zeros(0, 3), [])
    none.backward()
    assert float(none.detach()) == 0


def test_different_numbers_of_tokens_are_refused():
    with pytest.raises(ValueError, match="student has 4 visual tokens, the teacher 5"):
        relation_loss(tokens(4, 5, 0), tokens(5, 5, 1), [4])

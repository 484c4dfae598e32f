"""Ovis: the card's equations, one by one."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vitrail.models.connectors.ovis import OvisConnector, VisualEmbeddingTable, word_use
from vitrail.models.features import Features


def built(width=12, hidden=16, seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        connector = OvisConnector(OvisConnector.Config(**{"words": 40, **settings}), width, hidden)
        torch.nn.init.normal_(connector.table.weight)
    return connector


def pictures(count=2, side=4, width=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Features.from_grid(torch.randn(count, side**2, width, generator=generator), side, side)


def test_it_is_the_equation():
    connector, features = built(stride=2), pictures()
    tokens, lengths = connector(features)
    assert lengths.tolist() == [6, 6] and tokens.shape == (12, 16)
    E = connector.table.weight
    for item, grid in enumerate(features.grids()):
        own = tokens[item * 6 : item * 6 + 6]
        assert torch.equal(own[0], E[38]) and torch.equal(own[-1], E[39])
        for place, (i, j) in enumerate((i, j) for i in (0, 2) for j in (0, 2)):
            r = torch.cat([grid[i, j], grid[i, j + 1], grid[i + 1, j], grid[i + 1, j + 1]])
            logits = F.layer_norm(connector.head.weight @ r, (38,))
            p = logits.exp() / logits.exp().sum()
            torch.testing.assert_close(own[1 + place], sum(p[k] * E[k] for k in range(38)))


def test_a_table_row_is_the_same_by_index_and_by_distribution():
    table = VisualEmbeddingTable(10, 6)
    assert torch.equal(table(F.one_hot(torch.tensor([3, 9]), 10).float()), table(torch.tensor([3, 9])))
    uniform = torch.zeros(1, 10)
    uniform[:, :8] = 1 / 8
    torch.testing.assert_close(table(uniform)[0], table.weight[:8].mean(0))


def test_distributions_sum_to_one_in_float32_whatever_the_weights_type():
    connector = built(words=3000).to(torch.bfloat16)
    features = pictures()
    p = connector.distributions(Features(features.tokens.bfloat16(), features.lengths, features.coords))
    assert p.dtype == torch.float32 and p.shape == (32, 2998) and bool((p >= 0).all())
    torch.testing.assert_close(p.sum(-1), torch.ones(32), atol=1e-5, rtol=0)


def test_an_embedding_lies_among_the_rows_and_reserved_rows_stay_out():
    connector = built()
    with torch.no_grad():
        connector.table.weight[-2:] = 1e6
    tokens = connector(pictures())[0].reshape(2, 18, 16)[:, 1:-1].flatten(0, 1)
    rows = connector.table.weight[:38]
    assert bool((tokens <= rows.max(0).values + 1e-5).all()) and bool(
        (tokens >= rows.min(0).values - 1e-5).all()
    )


def test_argmax_is_one_hot_and_still_teaches_the_head():
    for name in ("st_argmax", "gumbel"):
        connector = built(tokenise=name)
        p = connector.distributions(pictures())
        if name == "st_argmax":
            assert torch.equal(p.detach().sort(-1).values[:, -1], torch.ones(32))
            assert torch.equal(p.detach().sum(-1), torch.ones(32))
        connector(pictures())[0].square().sum().backward()
        assert bool(connector.head.weight.grad.any())
    connector = built(tokenise="gumbel").eval()
    assert torch.equal(connector(pictures())[0], connector(pictures())[0])


def test_chunks_and_all_words_change_nothing():
    plain, features = built(), pictures()
    wanted = plain(features)[0]
    wanted.square().sum().backward()
    for settings in ({"chunk": 5}, {"topk": 38}, {"topk": 38, "chunk": 7}):
        other = built(**settings)
        other.load_state_dict(plain.state_dict())
        found = other(features)[0]
        torch.testing.assert_close(found, wanted)
        found.square().sum().backward()
        torch.testing.assert_close(other.head.weight.grad, plain.head.weight.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(other.table.weight.grad, plain.table.weight.grad, atol=1e-5, rtol=1e-4)


def test_a_few_words_are_the_likeliest():
    connector = built(topk=3)
    p = connector.distributions(pictures())
    assert bool(((p > 0).sum(-1) == 3).all())
    expected = p @ connector.table.weight[:38]
    torch.testing.assert_close(connector(pictures(1))[0][1:-1], expected[:16])


def test_begin_and_end_do_not_depend_on_pixels():
    connector = built(reserved=4)
    one, other = connector(pictures(1, seed=1))[0], connector(pictures(1, seed=2))[0]
    assert torch.equal(one[0], other[0]) and torch.equal(one[-1], other[-1])
    assert not torch.equal(one[1], other[1])
    assert (
        connector.around == (1, 1) and connector.num_tokens(4, 4) == 18 and built(reserved=0).around == (0, 0)
    )
    video = pictures(1)
    video = Features(video.tokens, video.lengths, video.coords, kind="video")
    assert torch.equal(connector(video)[0][0], connector.table.weight[38])
    with pytest.raises(ValueError, match=r"set connector\.reserved to 4"):
        built()(video)


def test_the_table_begins_like_the_words():
    words = torch.nn.Embedding(500, 16)
    torch.nn.init.normal_(words.weight, mean=0.3, std=0.07)
    connector = built(words=4000)
    torch.manual_seed(0)
    connector.reset_like(words)
    error = 0.07 / math.sqrt(4000 * 16)
    assert abs(float(connector.table.weight.detach().mean() - words.weight.detach().mean())) < 5 * error
    assert abs(float(connector.table.weight.detach().std() - words.weight.detach().std())) < 5 * error
    with pytest.raises(ValueError, match="embeddings are 8 wide, the visual table 16"):
        connector.reset_like(torch.nn.Embedding(5, 8))


def test_the_order_of_the_words_means_nothing():
    connector = built()
    torch.nn.init.normal_(connector.head_norm.weight)
    torch.nn.init.normal_(connector.head_norm.bias)
    before, order = connector(pictures())[0], torch.randperm(38, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in (connector.head.weight, connector.head_norm.weight, connector.head_norm.bias):
            weight.copy_(weight[order])
        connector.table.weight[:38] = connector.table.weight[:38][order]
    torch.testing.assert_close(connector(pictures())[0], before)


def test_use_of_words():
    spread = torch.full((6, 8), 1 / 8)
    assert word_use(spread).entropy == pytest.approx(math.log(8)) and word_use(spread).dead == 0
    single = F.one_hot(torch.tensor([0, 1, 1, 0]), 8).float()
    found = word_use(single)
    assert (found.entropy, found.dead, found.share_above) == (0, 0.75, 0.125)
    assert found.words_used == pytest.approx(2)
    with pytest.raises(ValueError, match="no token"):
        word_use(single[:0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": 3}, "of which 2 are reserved"),
        ({"words": 8, "topk": 7}, "a picture has 6 words"),
        ({"tau": 2.0}, "tau has no effect with tokenise='softmax'"),
        ({"tokenise": "gumbel", "topk": 2}, "topk has no effect"),
        ({"words": 0}, "words"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        OvisConnector.Config(**settings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (torch.tensor([10]), "go from 0 to 9; got 10 to 10"),
        (torch.tensor([-1]), "got -1"),
        (torch.ones(2, 9), "distributions over 9 visual words for a table of 10"),
        (torch.zeros(2, 10), "all zero or not finite"),
        (torch.full((2, 10), float("nan")), "all zero or not finite"),
    ],
)
def test_words_that_are_not_there(words, message):
    with pytest.raises(ValueError, match=message):
        VisualEmbeddingTable(10, 4)(words)

"""A cache of rows that come and go holds, for each row, what that row alone would hold."""

import random

import pytest
import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicSlidingWindowLayer

from vitrail.models import row_cache
from vitrail.models.row_cache import RowCache, held, tokens_that_fit

LAYERS, HEADS, DIM = 2, 2, 3


def prompts(*lengths):
    """A cache of left-padded prompts as a model leaves it; what stands in the padding must not matter."""
    cache, width = DynamicCache(), max(lengths)
    for layer in range(LAYERS):
        states = torch.randn(2, len(lengths), HEADS, width, DIM)
        cache.update(states[0], states[1], layer)
    return cache


def checked(rows, expected):
    """The rows' keys and values are the expected ones, and nothing stands in front of them."""
    width = max(map(len, expected), default=0)
    assert rows.width == width and rows.cache.get_seq_length() == width
    assert rows.mask("cpu").tolist() == [[0] * (width - len(one)) + [1] * (len(one) + 1) for one in expected]


@pytest.mark.parametrize("seed", range(4))
def test_rows_against_lists(seed):
    choose = random.Random(seed)
    torch.manual_seed(seed)
    rows, expected = RowCache(), []  # of each row: a list of tokens, each (layers, 2, heads, dim)
    for _ in range(60):
        what = choose.random()
        if what < 0.2 and len(expected) < 9:
            lengths = [choose.randint(1, 40) for _ in range(choose.randint(1, 3))]
            cache = prompts(*lengths)
            for row, length in enumerate(lengths):
                rows.put(cache, row, length)
                tokens = torch.stack([torch.stack([one.keys[row], one.values[row]]) for one in cache.layers])
                expected.append(list(tokens[..., -length:, :].unbind(-2)))
        elif what < 0.3 and expected:
            place = choose.randrange(len(expected))
            rows.drop(place)
            expected[place] = expected[-1]
            expected.pop()
        elif expected:
            rows.before_step()
            states = torch.randn(LAYERS, 2, len(expected), HEADS, 1, DIM)
            for layer in range(LAYERS):
                seen = rows.cache.update(states[layer, 0], states[layer, 1], layer)
                for place, tokens in enumerate(expected):
                    whole = torch.stack([*tokens, states[:, :, place, :, 0]], dim=-2)[layer]
                    for kind in (0, 1):
                        assert torch.equal(seen[kind][place, :, -len(tokens) - 1 :], whole[kind])
                        assert not seen[kind][place, :, : -len(tokens) - 1].any()
            rows.after_step()
            for place, tokens in enumerate(expected):
                tokens.append(states[:, :, place, :, 0])
        checked(rows, expected)


def test_other_caches_are_refused():
    with pytest.raises(ValueError, match="keeps no cache"):
        held(DynamicCache())
    cache = prompts(3)
    cache.layers[1] = DynamicSlidingWindowLayer(sliding_window=4)
    with pytest.raises(ValueError, match=r"a layer of another kind \(DynamicSlidingWindowLayer\)"):
        held(cache)


def test_tokens_that_fit(monkeypatch):
    class Config:
        num_hidden_layers, num_key_value_heads, num_attention_heads, hidden_size = 3, 2, 4, 32

        def get_text_config(self):
            return self

    model = nn.Linear(2, 2)
    model.config = Config()
    monkeypatch.setattr(row_cache, "_free_memory", lambda device: 10_000_000)
    assert tokens_that_fit(model) == int(row_cache.SHARE * 10_000_000 / (2 * 3 * 2 * 8 * 4))
    monkeypatch.setattr(row_cache, "_free_memory", lambda device: None)
    assert tokens_that_fit(model) is None
    model.config.num_hidden_layers = None
    assert tokens_that_fit(model) is None

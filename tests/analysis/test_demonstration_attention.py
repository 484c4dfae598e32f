"""Shares of attention in a few-shot prompt."""

import pytest
import torch

from conftest import chat, picture
from vitrail.analysis.demonstration_attention import attention_shares
from vitrail.data.demonstrations import shown
from vitrail.data.records import Chat


def test_shares_are_of_everything(nano):
    turns = []
    for n in range(3):
        turns.append({"role": "user", "content": [picture(n), {"type": "text", "text": "What?"}]})
        turns.append({"role": "assistant", "content": f"thing {n}"})
    one = Chat(messages=turns[:-1])
    found = attention_shares(nano, one)
    assert found.text + found.pictures + found.question + found.rest == pytest.approx(1, abs=1e-5)
    assert min(found.text, found.pictures, found.question, found.rest) > 0
    assert attention_shares(nano, shown(one, "text")).pictures == 0
    assert attention_shares(nano, one, layers=[0]) != found and torch.is_grad_enabled()
    with pytest.raises(ValueError, match="has no demonstration in front"):
        attention_shares(nano, chat("what?"))

"""Level embeddings, the gate, and inserting one token, against plain loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import families
from vitrail.models.surgery.alignment_token import (
    AlignmentGate,
    AlignmentIndicators,
    Insertion,
    insert_prefix_token,
)


def batch(side):
    lengths, wide = (5, 3, 4), 5
    mask = torch.zeros(3, wide, dtype=torch.long)
    for row, length in zip(mask, lengths, strict=True):
        row[wide - length :] = 1
        if side == "right":
            row.copy_(row.flip(0))
    return mask


def test_a_level_alone_is_that_level_and_the_shared_one():
    table = AlignmentIndicators(8, 6)
    for level in range(7):
        alone = F.one_hot(torch.tensor([level]), 7).float()
        torch.testing.assert_close(
            table.mix(alone)[0], table.weight[level] + table.weight[-1], rtol=0, atol=0
        )
    assert torch.equal(table.select(torch.tensor([7, 0])), table.weight[[7, 0]])
    bound = (6 / (8 + 6)) ** 0.5
    assert float(table.weight.detach().abs().max()) <= bound
    for wrong in (8, -1):
        with pytest.raises(ValueError, match="levels go from 0 to 7"):
            table.select(torch.tensor([wrong]))
    with pytest.raises(ValueError, match="2 or more"):
        AlignmentIndicators(1, 4)


def test_the_gate_is_the_equation():
    torch.manual_seed(0)
    gate = AlignmentGate(9, 7)
    V, text, mask = torch.randn(3, 9, 16), torch.randn(3, 5, 16), batch("right").bool()
    alpha = gate(V, text, mask)
    torch.testing.assert_close(alpha.sum(-1), torch.ones(3))
    for b, length in enumerate((5, 3, 4)):
        t = text[b, :length].mean(0)
        r = torch.stack([V[b, p] @ t for p in range(9)])
        torch.testing.assert_close(alpha[b], gate.down(F.gelu(gate.up(r))).softmax(-1))


def test_the_gate_sees_no_padding_and_no_order_of_words_but_the_order_of_the_picture():
    torch.manual_seed(0)
    gate = AlignmentGate(9, 7)
    V, text, mask = (
        torch.randn(2, 9, 16),
        torch.randn(2, 5, 16),
        torch.tensor([[1, 1, 1, 0, 0], [1] * 5]).bool(),
    )
    alpha = gate(V, text, mask)
    noisy = torch.where(mask[..., None], text, 1e3)
    torch.testing.assert_close(gate(V, noisy, mask), alpha)
    torch.testing.assert_close(gate(V[:1], text[:1, :3], mask[:1, :3]), alpha[:1])
    torch.testing.assert_close(gate(V[1:], text[1:, torch.randperm(5)], mask[1:]), alpha[1:])
    assert (gate(V[:, torch.randperm(9)], text, mask) - alpha).abs().max() > 1e-3


def test_pictures_of_other_sizes():
    gate = AlignmentGate(9, 7)
    with pytest.raises(ValueError, match="has 12 visual tokens, the gate was built for 9"):
        gate(torch.randn(1, 12, 4), torch.randn(1, 2, 4), torch.ones(1, 2).bool())
    gate = AlignmentGate(3, 7, resample=True)
    V, text = torch.randn(6, 4), torch.randn(1, 2, 4)
    found = gate(V[None], text, torch.ones(1, 2).bool())
    averaged = V.reshape(3, 2, 4).mean(1)
    torch.testing.assert_close(found, gate(averaged[None], text, torch.ones(1, 2).bool()))
    with pytest.raises(ValueError, match="row 0 has a picture and no text"):
        gate(V[None], text, torch.zeros(1, 2).bool())


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("position", [0, 1, 3])
def test_insertion_equals_a_loop_over_rows(side, position):
    mask, embeds = batch(side), torch.randn(3, 5, 2)
    token = torch.randn(3, 2)
    labels = torch.arange(15).reshape(3, 5)
    wide, seen, wanted = insert_prefix_token(embeds, mask, labels, token, position)
    for b in range(3):
        real = mask[b].bool()
        expected = torch.cat([embeds[b][real][:position], token[b : b + 1], embeds[b][real][position:]])
        assert torch.equal(wide[b][seen[b].bool()], expected)
        own = labels[b][real].tolist()
        assert wanted[b][seen[b].bool()].tolist() == [*own[:position], -100, *own[position:]]
    assert seen.sum().item() == mask.sum().item() + 3
    assert seen[:, 0 if side == "right" else -1].all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_taken_out_again_everything_is_in_its_place(side):
    mask, values = batch(side), torch.randn(3, 5, 2)
    rows = torch.tensor([True, False, True])
    inserted = Insertion.behind(mask, rows, 2)
    wide = inserted.widen(values, torch.full((3, 2), 7.0))
    back = inserted.narrow(wide)
    assert torch.equal(back[1], values[1]) and not bool(inserted.mask(mask)[1, -1])
    for b in (0, 2):
        before = int(inserted.place[b]) - 1
        assert (back[b, before] == 7).all()  # what predicts the next token is the new one
        rest = [n for n in range(5) if n != before]
        assert torch.equal(back[b, rest], values[b, rest])
    with pytest.raises(ValueError, match="row 1 has 3 tokens; the new one goes behind 4"):
        Insertion.behind(mask, torch.ones(3).bool(), 4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_positions_count_on(side):
    mask = batch(side)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    rows = torch.tensor([True, True, False])
    for position in (0, 1, 2):
        inserted = Insertion.behind(mask, rows, position)
        for found in (inserted.positions(positions), inserted.positions(positions.expand(3, -1, -1))[2]):
            for b in range(3):
                own = found[b][inserted.mask(mask)[b].bool()]
                assert own.tolist() == list(range(len(own)))


@pytest.mark.parametrize("side", ["left", "right"])
def test_any_language_model_takes_it(side):
    """The loss of a batch is that of its rows, one by one, without any padding."""
    model = families.llama()
    torch.manual_seed(0)
    mask, ids = batch(side), torch.randint(3, 150, (3, 5))
    labels = (
        torch.where(mask.cumsum(-1) > 1, ids, -100) if side == "left" else torch.where(mask.bool(), ids, -100)
    )
    token = torch.randn(3, 32)
    embeds, seen, wanted = insert_prefix_token(model.get_input_embeddings()(ids), mask, labels, token)
    positions = (seen.cumsum(-1) - 1).clamp(min=0)
    found = model(inputs_embeds=embeds, attention_mask=seen, position_ids=positions).logits
    total, count = 0.0, 0
    for b in range(3):
        own = ids[b][mask[b].bool()]
        words = model.get_input_embeddings()(own)
        line = torch.cat([words[:1], token[b : b + 1], words[1:]])[None]
        logits = model(inputs_embeds=line).logits[0]
        total += F.cross_entropy(logits[1:-1], own[1:], reduction="sum")
        count += len(own) - 1
    shifted = F.cross_entropy(
        found[:, :-1].flatten(0, 1), wanted[:, 1:].flatten(), reduction="sum", ignore_index=-100
    )
    assert int((wanted[:, 1:] != -100).sum()) == count
    torch.testing.assert_close(shifted, total)

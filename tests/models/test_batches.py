"""Padded batches and their layout."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from conftest import chat
from vitrail.models.layout import Layout, Modality


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_outside_mask_labels_and_layout(nano, side):
    encoded = [nano.encoder.encode(chat("hi", "yes", images=i)) for i in range(3)]
    batch = nano.collator(side)(encoded)
    layout = batch["layout"]
    assert torch.equal(layout.present.long(), batch["attention_mask"])
    padding = batch["attention_mask"] == 0
    assert (batch["labels"][padding] == -100).all() and (layout.modality[padding] == Modality.PADDING).all()
    assert batch["pixel_values"].shape[0] == 3
    assert torch.equal(layout.visual, batch["input_ids"] == nano.encoder.image_token_id)
    assert torch.equal(layout.droppable, layout.visual)
    for row, record in enumerate(encoded):
        present = layout.present[row]
        assert batch["input_ids"][row][present].tolist() == record.input_ids.tolist()
        assert layout.item[row][present].tolist() == record.item.tolist()
        assert layout.weight[row][present].tolist() == record.weight.tolist()


def test_a_batch_of_text_has_no_pixels(nano):
    batch = nano.collator()([nano.encoder.encode(chat("hi", images=0))])
    assert "pixel_values" not in batch


def test_layout_moves_and_selects():
    fields = dict.fromkeys(
        ("segment", "modality", "item", "frame", "row", "col", "speaker"), torch.arange(6).reshape(2, 3)
    )
    layout = Layout(**fields, weight=torch.ones(2, 3), droppable=torch.zeros(2, 3, dtype=torch.bool))
    assert layout.repeat_interleave(2).segment.tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert layout.take(torch.tensor([[0, 2], [1, 2]])).col.tolist() == [[0, 2], [4, 5]]
    assert layout.to("cpu").shape == (2, 3)
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)):
        Layout(
            **{**fields, "row": torch.zeros(2, 4).long()},
            weight=torch.ones(2, 3),
            droppable=torch.zeros(2, 3).bool(),
        )

"""A record's alignment level reaches the model from its meta, in training and not in evaluation."""

from __future__ import annotations

import torch

from conftest import chat
from vitrail.inference.generation import GenerationSettings, generate_from
from vitrail.inference.inputs import model_inputs
from vitrail.models.surgery.operating import operate
from vitrail.objectives.next_token import NextToken


def test_levels_travel_with_their_records(fresh_nano):
    operate(fresh_nano.model, "aligngpt", {})
    records = [chat("a", "b", images=0), *(chat("what?", "a cat", seed=n) for n in (1, 2))]
    records = [
        record.model_copy(update={"meta": {} if level is None else {"alignment_level": level}})
        for record, level in zip(records, (None, 2, 5), strict=True)
    ]
    encoded = [fresh_nano.encoder.encode(record) for record in records]
    batch = fresh_nano.collator()(encoded)
    assert batch["record_levels"].tolist() == [-1, 2, 5]
    assert "record_levels" not in fresh_nano.collator()(encoded[:1])
    fresh_nano.model.train()
    NextToken()(fresh_nano.model, batch).total().backward()
    gradient = fresh_nano.model.aligngpt.levels.weight.grad
    assert [bool(row.any()) for row in gradient] == [n in (2, 5) for n in range(8)]
    fresh_nano.model.eval()
    with torch.no_grad():
        with_level = fresh_nano.model(**model_inputs(fresh_nano.model, batch)).logits
        batch.pop("record_levels")
        without = fresh_nano.model(**model_inputs(fresh_nano.model, batch)).logits
    assert torch.equal(with_level, without)
    assert len(generate_from(fresh_nano, encoded[1:], GenerationSettings(max_new_tokens=2))) == 2

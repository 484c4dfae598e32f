"""Tokens around a picture's grid in a model of ours: begin and end of Ovis, from the recipe's connector on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conftest import chat, picture
from vitrail.data.image_plans.fixed import Fixed
from vitrail.data.image_plans.plan import Marker
from vitrail.data.records import Chat
from vitrail.inference.generation import GenerationSettings, generate_from
from vitrail.inference.inputs import extended, model_inputs
from vitrail.models.loading import load
from vitrail.models.testbeds import nano

OVIS = {"name": "ovis", "words": 3000, "pool": 2}


@pytest.fixture(scope="module")
def bundle():
    return nano.build(connector=OVIS, seed=0)


def logits(bundle, encoded):
    with torch.inference_mode():
        return bundle.model(
            **model_inputs(bundle.model, bundle.collator()([encoded])), use_cache=False
        ).logits[0]


def test_a_picture_takes_its_grid_and_two_more(bundle):
    encoded = bundle.encoder.encode(chat("what is it?", "a cat"))
    assert (encoded.modality == 1).sum() == 6 == bundle.model.connector.num_tokens(4, 4)
    run = np.stack([encoded.row, encoded.col], 1)[encoded.modality == 1].tolist()
    assert run == [[-1, -1], [0, 0], [0, 1], [1, 0], [1, 1], [-1, -1]]
    assert torch.isfinite(logits(bundle, encoded)).all()


def test_the_processor_writes_what_the_encoder_writes(bundle):
    processor = bundle.processor
    text = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "hello"}]}],
        chat_template=processor.chat_template,
        tokenize=False,
    )
    ids = processor(images=[picture().open()], text=text)["input_ids"][0]
    assert processor.tokenizer.decode(ids) == processor.tokenizer.decode(
        bundle.encoder.encode(chat("hello")).input_ids
    )


def test_saved_loaded_and_generating(bundle, tmp_path):
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    record = chat("what is it?", "a cat")
    encoded = again.encoder.encode(record)
    assert torch.equal(logits(again, encoded), logits(bundle, bundle.encoder.encode(record)))
    prompt = again.encoder.encode(Chat(messages=record.messages[:1]), add_generation_prompt=True)
    (reply,) = generate_from(again, [prompt], GenerationSettings(max_new_tokens=3))
    said = []
    for _ in reply.tokens:
        said.append(int(logits(again, extended(prompt, said))[-1].argmax()))
    assert list(reply.tokens) == said


def test_the_table_begins_like_the_words(bundle):
    table, words = (
        bundle.model.connector.table.weight.detach(),
        bundle.model.get_input_embeddings().weight.detach(),
    )
    assert float(table.std() / words.std()) == pytest.approx(1, abs=0.01)
    assert torch.equal(table, nano.build(connector=OVIS, seed=0).model.connector.table.weight)


def test_a_plan_with_texts_and_tokens_around():
    plan = Fixed(1, 2, cell_texts=("a", "b"), around=(1, 2))(10, 10)
    assert [span.text if isinstance(span, Marker) else len(span) for span in plan.spans] == [
        1,
        "a",
        1,
        "b",
        1,
        2,
    ]
    assert plan.num_tokens == 5 and plan.coords[:, 1].tolist() == [-1, 0, 0, -1, -1]

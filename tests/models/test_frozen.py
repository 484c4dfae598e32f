"""A frozen tower's features: computed once, equal to the tower's own, addressed by content."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conftest import chat, picture
from vitrail.inference.inputs import model_inputs
from vitrail.models.frozen import FrozenTower, weights_fingerprint


@pytest.mark.parametrize("runtime", ["torch", pytest.param("onnx", marks=pytest.mark.xdist_group("onnx"))])
def test_features_equal_the_towers(nano, tmp_path, runtime):
    pictures = [(picture(seed), None) for seed in range(5)]
    frozen = FrozenTower(nano.model.tower, runtime=runtime, dtype="float32", cache=tmp_path, batch_size=2)
    assert frozen.runtime == runtime
    assert frozen.prepare(pictures) == 5
    found = frozen(pictures[::-1])["vision_features"]
    pixels = nano.processor.image_processor(images=[p.open() for p, _ in pictures[::-1]], return_tensors="pt")
    with torch.no_grad():
        expected = nano.model.tower(pixels["pixel_values"]).tokens.reshape(5, 16, -1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_is_stored_is_not_computed_again(nano, tmp_path, monkeypatch):
    pictures = [(picture(seed), None) for seed in range(4)]
    first = FrozenTower(nano.model.tower, runtime="torch", cache=tmp_path)
    first.prepare(pictures)
    again = FrozenTower(nano.model.tower, runtime="torch", cache=tmp_path)
    monkeypatch.setattr(again, "features", lambda opened: pytest.fail("computed again"))
    assert again.prepare(pictures) == 0
    assert torch.equal(again(pictures)["vision_features"], first(pictures)["vision_features"])
    assert again([]) == {}


def test_another_tower_or_another_picture_is_another_entry(fresh_nano, tmp_path):
    before = weights_fingerprint(fresh_nano.model.tower)
    first = FrozenTower(fresh_nano.model.tower, runtime="torch", cache=tmp_path)
    with torch.no_grad():
        next(fresh_nano.model.tower.parameters()).add_(1e-3)
    assert weights_fingerprint(fresh_nano.model.tower) != before
    second = FrozenTower(fresh_nano.model.tower, runtime="torch", cache=tmp_path)
    assert first.fingerprint != second.fingerprint
    assert second.prepare([(picture(1), None)]) == 1 and second.prepare([(picture(2), None)]) == 1


def test_an_unprepared_picture_is_computed_when_asked_for(nano, tmp_path):
    frozen = FrozenTower(nano.model.tower, runtime="torch", cache=tmp_path)
    found = frozen([(picture(7), None), (picture(7), None)])["vision_features"]
    assert found.dtype == torch.float32 and np.array_equal(found[0], found[1])


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}])
def test_answers_are_generated_from_stored_features_as_from_pixels(nano, tmp_path, settings):
    frozen = FrozenTower(nano.model.tower, runtime="torch", dtype="float32", cache=tmp_path)
    asked = [nano.encoder.encode(chat("What?", seed=seed), add_generation_prompt=True) for seed in range(3)]
    pixels = model_inputs(nano.model, nano.collator("left")(asked))
    stored = {name: value for name, value in pixels.items() if name != "pixel_values"}
    stored |= frozen([(one.images[0], None) for one in asked])
    answers = []
    for inputs in (pixels, stored, {**stored, "vision_features": stored["vision_features"].flip(0)}):
        torch.manual_seed(0)
        made = nano.model.generate(
            **inputs, max_new_tokens=8, output_logits=True, return_dict_in_generate=True, **settings
        )
        answers.append(torch.stack(made.logits))
    torch.testing.assert_close(answers[1], answers[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(answers[2], answers[0], atol=1e-3)

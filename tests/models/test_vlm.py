"""The VLM: every way of feeding, saving and generating gives the same answer."""

from __future__ import annotations

import pytest
import torch

from conftest import chat
from vitrail.models.logits import logits_at, shifted
from vitrail.models.testbeds import nano as nano_testbed


def batch_of(bundle, *chats, side="left", prompt=True):
    encoded = [bundle.encoder.encode(c, add_generation_prompt=prompt) for c in chats]
    batch = bundle.collator(side)(encoded)
    batch.pop("labels")
    return batch, encoded


def answers(bundle, *chats, **settings):
    batch, _ = batch_of(bundle, *chats)
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, **settings}
    return bundle.model.generate(**batch, **settings)[:, batch["input_ids"].shape[1] :]


CHATS = [
    chat("what is this?", images=1, seed=1),
    chat("hello", images=0),
    chat("which of these pictures is red, and which is not?", images=3, seed=2),
]


def test_the_image_matters(nano):
    first, _ = batch_of(nano, chat("what is this?", seed=1))
    second, _ = batch_of(nano, chat("what is this?", seed=2))
    with torch.no_grad():
        difference = (nano.model(**first).logits - nano.model(**second).logits)[:, -1].abs().max()
    assert difference > 1e-4


@pytest.mark.parametrize("language", ["llama", "qwen2", "gpt_neox", "gemma2"])
def test_cached_generation_equals_recomputation(language):
    bundle = nano_testbed.build(language=language)
    batch, _ = batch_of(bundle, *CHATS)
    cached = answers(bundle, *CHATS)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        for _ in range(6):
            logits = bundle.model(
                **{**batch, "input_ids": ids, "attention_mask": mask, "layout": None}
            ).logits
            ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], 1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    assert torch.equal(cached, ids[:, batch["input_ids"].shape[1] :])


def test_answers_do_not_depend_on_the_batch(nano):
    together = answers(nano, *CHATS)
    for index, one in enumerate(CHATS):
        assert torch.equal(answers(nano, one)[0], together[index])


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_beams_keep_each_rows_own_pictures(nano, settings):
    together = answers(nano, *CHATS, **settings)
    for index, one in enumerate(CHATS):
        alone = answers(nano, one, **settings)
        assert torch.equal(alone, together[index * len(alone) : (index + 1) * len(alone)])


def test_sampling_expands_pictures(nano):
    torch.manual_seed(0)
    sampled = answers(nano, CHATS[2], do_sample=True, num_return_sequences=4)
    assert sampled.shape == (4, 6)


@pytest.mark.parametrize("language", ["llama", "gpt2"])
def test_padding_sides_agree(language):
    """gpt2 has learned absolute positions: they must be counted from the first token, not from the padding."""
    nano = nano_testbed.build(language=language)
    left, encoded = batch_of(nano, *CHATS, side="left")
    right, _ = batch_of(nano, *CHATS, side="right")
    with torch.no_grad():
        from_left, from_right = nano.model(**left).logits, nano.model(**right).logits
    for row, record in enumerate(encoded):
        torch.testing.assert_close(
            from_left[row, -record.length :], from_right[row, : record.length], atol=1e-5, rtol=0
        )


def test_ready_visual_tokens_and_stored_features_equal_pixels(nano):
    batch, _ = batch_of(nano, *CHATS)
    rest = {k: v for k, v in batch.items() if k != "pixel_values"}
    with torch.no_grad():
        expected = nano.model(**batch).logits
        ready = nano.model.get_image_features(batch["pixel_values"])
        features = nano.model.tower(batch["pixel_values"]).tokens.reshape(4, -1, nano.model.tower.width)
        assert torch.equal(nano.model(**rest, mm_encoder_outputs={"image": ready}).logits, expected)
        assert torch.equal(nano.model(**rest, vision_features=features).logits, expected)
        visual = nano.model(vision_features=features).image_hidden_states
    assert torch.equal(visual, ready.pooler_output)


def test_pictures_given_twice_or_without_placeholders_are_refused(nano):
    batch, _ = batch_of(nano, CHATS[0])
    with pytest.raises(ValueError, match="give pictures once"):
        nano.model(**batch, vision_features=torch.zeros(1, 16, 32))
    with pytest.raises(ValueError, match="do not match: 4 features, 0 placeholders"):
        nano.model(**{**batch, "input_ids": torch.full_like(batch["input_ids"], 5)})


def test_labelled_logits_equal_full_logits(nano):
    encoded = [nano.encoder.encode(chat("what is it?", "a red cat", seed=s)) for s in range(3)]
    batch = nano.collator()(encoded)
    labels = batch.pop("labels")
    keep, targets = shifted(labels)
    with torch.no_grad():
        full = nano.model(**batch).logits
        kept = nano.model(**batch, logits_to_keep=keep).logits
        through = logits_at(nano.model, keep, **batch).logits
    torch.testing.assert_close(kept, full[keep], atol=1e-6, rtol=0)
    assert torch.equal(kept, through)
    assert len(targets) == len(kept) == sum(record.labelled for record in encoded)
    loss = torch.nn.functional.cross_entropy(kept, targets)
    assert torch.allclose(loss, nano.model(**batch, labels=labels).loss, atol=1e-6)


def test_labelled_logits_by_hook_for_older_transformers(nano, monkeypatch):
    from vitrail.models import logits as module

    monkeypatch.setattr(module, "_NATIVE", False)
    batch, _ = batch_of(nano, *CHATS)
    keep = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    keep[0, 3:6] = keep[2, 1] = True
    with torch.no_grad():
        full = nano.model(**batch).logits[keep]
        torch.testing.assert_close(logits_at(nano.model, keep, **batch).logits, full, atol=1e-6, rtol=0)
    assert not nano.model.get_output_embeddings()._forward_pre_hooks


def test_save_and_load_are_bit_equal(fresh_nano, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from vitrail.models.loading import load

    fresh_nano.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    batch, _ = batch_of(fresh_nano, *CHATS)
    again, _ = batch_of(loaded, *CHATS)
    assert all(torch.equal(batch[k], again[k]) for k in ("input_ids", "attention_mask", "pixel_values"))
    with torch.no_grad():
        assert torch.equal(fresh_nano.model(**batch).logits, loaded.model(**again).logits)
    assert torch.equal(answers(fresh_nano, *CHATS), answers(loaded, *CHATS))
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path / "model")) is type(fresh_nano.model)
    assert type(AutoProcessor.from_pretrained(tmp_path / "model")) is type(fresh_nano.processor)


def test_weights_that_do_not_fit_are_refused(fresh_nano, tmp_path):
    from safetensors.torch import load_file, save_file

    from vitrail.models.loading import load

    fresh_nano.save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    weights.pop("connector.up.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing_keys.*connector\.up\.weight"):
        load(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load(tmp_path / "empty")


def test_processor_makes_the_same_inputs_as_the_encoder(nano):
    record = chat("what is this?", seed=5)
    batch, _ = batch_of(nano, record)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is this?"}]}]
    text = nano.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = nano.processor(images=record.images[0].open(), text=text, return_tensors="pt")
    assert torch.equal(inputs["input_ids"], batch["input_ids"])
    assert torch.equal(inputs["pixel_values"], batch["pixel_values"])
    with pytest.raises(ValueError, match="2 '<image>' in the text for 1 pictures"):
        nano.processor(images=record.images[0].open(), text=text + "<image>", return_tensors="pt")


def test_gradient_checkpointing_changes_nothing(fresh_nano):
    encoded = [fresh_nano.encoder.encode(chat("what is it?", "a red cat", seed=s)) for s in range(2)]
    batch = fresh_nano.collator()(encoded)
    model = fresh_nano.model.train()
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        model(**batch, use_cache=False).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-6) for n in gradients[0])


def test_lora_trains_merges_and_reloads(fresh_nano, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    base = nano_testbed.build(seed=0)
    settings = LoraConfig(r=4, target_modules=r"language\..*\.(q|v)_proj", init_lora_weights=False)
    adapted = get_peft_model(base.model, settings).eval()
    batch, _ = batch_of(base, *CHATS)
    with torch.no_grad():
        expected = adapted(**batch).logits
        assert not torch.allclose(expected, fresh_nano.model(**batch).logits, atol=1e-4)
    adapted.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(fresh_nano.model, tmp_path / "adapter").eval()
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, expected)
        torch.testing.assert_close(again.merge_and_unload()(**batch).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_runs(fresh_nano, precision):
    model = fresh_nano.model.to(precision)
    batch, _ = batch_of(fresh_nano, *CHATS)
    assert torch.isfinite(model(**batch).logits.float()).all()
    assert answers(fresh_nano, *CHATS).shape == (3, 6)


def test_without_a_mask_all_tokens_are_present(nano):
    """transformers would guess packed samples from positions that restart; here the mask is always passed, and such
    positions need a rule.
    """
    batch, _ = batch_of(nano, CHATS[0])
    plain = {k: v for k, v in batch.items() if k != "attention_mask"}
    positions = torch.arange(batch["input_ids"].shape[1])[None]
    with torch.no_grad():
        for inputs in (plain, batch):
            with pytest.raises(ValueError, match=r"same_segment\(\)"):
                nano.model(**inputs, position_ids=positions % 5, use_cache=False)
        positions = positions * 2  # a gap is what the guess takes for a new sample
        expected = nano.model(**batch, position_ids=positions, use_cache=False).logits
        assert torch.equal(nano.model(**plain, position_ids=positions, use_cache=False).logits, expected)

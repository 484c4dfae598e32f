"""Surgeries that let a rule stand: done, saved, loaded, tuned by a recipe, generated and scored with, undone."""

from __future__ import annotations

import json
import warnings

import pytest
import torch

from conftest import chat
from models.rules import samples
from vitrail.inference.generation import GenerationSettings, Stream, generate
from vitrail.inference.likelihood import option_logprobs
from vitrail.inference.prefill import prompt_sharing
from vitrail.models.loading import load
from vitrail.models.rules import applied, latest_picture
from vitrail.models.rules.ee_mllm import composite_attention
from vitrail.models.rules.standing import standing
from vitrail.models.rules.tc_llava import tc_llava
from vitrail.models.surgery import operating
from vitrail.models.surgery.standing_rule import undo
from vitrail.models.testbeds import nano

CASES = [
    ("tc_llava", {"gamma": 0.5}, tc_llava(0.5)),
    ("tc_llava", {"rope": False}, tc_llava(rope=False)),
    ("ee_mllm", {}, composite_attention()),
    ("latest_picture", {}, latest_picture()),
    ("ee_mllm", {"layers": "1:", "aligner": "ffn"}, composite_attention("ffn", layers=[1])),
]


def batch_of(bundle, images=2):
    chats = [chat("What is here?", images=images, seed=seed) for seed in range(2)]
    encoded = [bundle.encoder.encode(one, add_generation_prompt=True) for one in chats]
    batch = bundle.collator("left")(encoded)
    return chats, {name: value for name, value in batch.items() if name != "labels"}


@pytest.mark.parametrize("name, settings, rule", CASES)
def test_it_comes_back_with_the_model(name, settings, rule, tmp_path):
    bundle = nano.build(seed=1)
    chats, batch = batch_of(bundle)
    keys = list(bundle.model.state_dict())
    wanting = GenerationSettings(max_new_tokens=6)
    with torch.no_grad():
        plain = bundle.model(**batch).logits
        with applied(bundle.model, rule, batch["layout"]):
            wanted = bundle.model(**batch).logits
    operating.operate(bundle.model, name, settings)
    assert list(bundle.model.state_dict()) == keys
    with torch.no_grad():
        assert torch.equal(bundle.model(**batch).logits, wanted)
    assert not torch.equal(plain, wanted)
    answers = generate(bundle, chats, wanting)
    assert "".join(Stream.of(bundle, chats[0], wanting)).strip() == answers[0].text
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again.model) is type(bundle.model)
    with torch.no_grad():
        assert torch.equal(again.model(**batch).logits, wanted)
    assert generate(again, chats, wanting) == answers
    written = json.loads((tmp_path / "model" / "config.json").read_text())
    assert written["vitrail"]["surgeries"][0]["name"] == name
    assert written["architectures"] == ["VitrailForConditionalGeneration"]
    undo(again.model, name)
    with torch.no_grad():
        assert torch.equal(again.model(**batch).logits, plain)
    again.save(tmp_path / "undone")
    assert not standing(load(tmp_path / "undone").model)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
@pytest.mark.parametrize("name", ["ee_mllm", "tc_llava", "latest_picture"])
def test_families_of_transformers_keep_it(family, name, tmp_path):
    from vitrail.models.loading import model_class

    model = samples.build(family)
    settings = {"rope": False} if (name, family) == ("tc_llava", "qwen2_5_vl") else {}
    operating.operate(model, name, settings)
    rows = [[samples.sample(model, family, seed, words=4 + seed)] for seed in range(2)]
    inputs, layout = samples.batch(rows, "left")
    wanted = samples.logits(model, inputs, layout=layout)
    told = samples.generate(model, inputs, num_beams=2)
    model.save_pretrained(tmp_path)
    kind = model_class(model.config)
    again = operating.operated_class(kind, model.config).from_pretrained(tmp_path)
    again.__class__ = kind
    operating.after_load(again)
    again.eval()
    assert torch.equal(samples.logits(again, inputs, layout=layout), wanted)
    again.generation_config.eos_token_id = None
    assert torch.equal(samples.generate(again, inputs, num_beams=2).sequences, told.sequences)


@pytest.mark.parametrize("name", ["tc_llava", "ee_mllm", "latest_picture"])
def test_options_are_scored_with_it(name):
    bundle = nano.build(seed=1)
    operating.operate(bundle.model, name)
    chats = [chat("What is here?", images=1 + seed, seed=seed) for seed in range(2)]
    options = [[bundle.encoder.answer_ids(text) for text in ("A cow.", "A red house.", "Two")] for _ in chats]
    encoded = [bundle.encoder.encode(one, add_generation_prompt=True) for one in chats]
    items = list(zip(encoded, options, strict=True))
    assert prompt_sharing(bundle.model).possible
    for side in ("left", "right"):
        shared = option_logprobs(bundle.model, bundle.collator(side), items, share_prompt=True)
        alone = option_logprobs(bundle.model, bundle.collator(side), items, share_prompt=False)
        for a, b in zip(shared, alone, strict=True):
            assert a.sums == pytest.approx(b.sums, abs=1e-4)


def test_the_cache_forgets_pictures_that_nobody_sees_again():
    bundle = nano.build(seed=1)
    _, batch = batch_of(bundle, images=3)
    made = {}
    for evict in (True, False):
        own = nano.build(seed=1)
        operating.operate(own.model, "latest_picture", {"evict": evict})
        with torch.no_grad():
            made[evict] = own.model.generate(
                **batch, max_new_tokens=5, do_sample=False, return_dict_in_generate=True, output_logits=True
            )
    assert torch.equal(made[True].sequences, made[False].sequences)
    assert torch.allclose(torch.stack(made[True].logits), torch.stack(made[False].logits), atol=1e-5)
    held = {evict: one.past_key_values.layers[0].keys.shape[-2] for evict, one in made.items()}
    visual = int(batch["layout"].visual[0].sum())
    assert held[False] - held[True] == visual * 2 // 3, "two pictures of three"


@pytest.mark.parametrize(
    "surgery", [{"name": "tc_llava", "gamma": 0.5}, {"name": "ee_mllm", "skip_last": True}]
)
def test_a_recipe_tunes_with_it(surgery, tmp_path):
    from vitrail.recipes import loading
    from vitrail.recipes.run import run
    from vitrail.recipes.shapes import on_meta

    settings = {"model.surgeries": [surgery], "stages.tune.max_steps": 2}
    recipe = loading.load("nano", settings)
    assert standing(on_meta(recipe.model))
    made = run(recipe, tmp_path / "run").load()
    assert list(standing(made.model)) == [surgery["name"]]


def test_both_stand_together():
    bundle = nano.build(seed=1)
    _, batch = batch_of(bundle)
    with torch.no_grad(), applied(bundle.model, tc_llava() & composite_attention("vo"), batch["layout"]):
        wanted = bundle.model(**batch).logits
    operating.operate(bundle.model, "tc_llava")
    operating.operate(bundle.model, "ee_mllm", {"aligner": "vo"})
    with torch.no_grad():
        assert torch.equal(bundle.model(**batch).logits, wanted)
    with pytest.raises(ValueError, match="ee_mllm was done to this model already"):
        operating.operate(bundle.model, "ee_mllm")


@pytest.mark.parametrize(
    "name, settings, sentence",
    [
        ("tc_llava", {"gamma": -1}, "greater than or equal to 0"),
        ("tc_llava", {"rope": False, "mask": "none"}, "nothing would change"),
        ("tc_llava", {"rope": False, "gamma": 2}, "gamma has no effect"),
        ("tc_llava", {"rope": False, "mask": "visual", "frames": "video"}, "frames has no effect"),
        ("tc_llava", {"gama": 2}, "gama"),
        ("ee_mllm", {"path": "mask", "aligner": "vo"}, "path 'mask' is the aligner"),
        ("ee_mllm", {"aligner": "none", "skip_last": True}, "skip_last has no effect"),
        ("ee_mllm", {"layers": "0:1", "skip_last": True}, "skip_last has no effect: layer 1"),
        ("ee_mllm", {"layers": "5:"}, "but the model has the layers 0 to 1"),
        ("ee_mllm", {"layers": [0, 2]}, "but the model has the layers 0 to 1"),
        ("ee_mllm", {"layers": "late"}, "give 'all', a slice"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_stays(name, settings, sentence):
    bundle = nano.build()
    kind = type(bundle.model)
    with pytest.raises(ValueError, match=sentence):
        operating.operate(bundle.model, name, settings)
    assert type(bundle.model) is kind and not getattr(bundle.model.config, "vitrail", None)


def test_models_that_time_does_not_fit():
    import transformers as T

    with pytest.raises(ValueError, match="use rope: false for the mask alone"):
        operating.operate(samples.build("qwen2_vl"), "tc_llava")
    small = {
        "vocab_size": 50,
        "hidden_size": 16,
        "ffn_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    learned = T.OPTForCausalLM._from_config(T.OPTConfig(**small, word_embed_proj_dim=16))
    with pytest.raises(ValueError, match="has no rotary positions"):
        operating.operate(learned, "tc_llava")


def test_it_warns_beyond_the_trained_positions():
    _, batch = batch_of(nano.build())
    limit = batch["input_ids"].shape[1] + 2
    bundle = nano.build(language_config={"max_position_embeddings": limit})
    operating.operate(bundle.model, "tc_llava")
    with pytest.warns(UserWarning, match=f"was trained for positions below {limit}"), torch.no_grad():
        bundle.model(**batch)
    undo(bundle.model, "tc_llava")
    operating.operate(bundle.model, "tc_llava", {"gamma": 0})
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        bundle.model(**batch)

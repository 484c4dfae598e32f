"""A recipe's dual encoder: from pairs to a scorer, above chance on new pictures, blind at chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from conftest import chat, picture
from vitrail.data.records import Document, Text
from vitrail.evaluation.retrieval import retrieve
from vitrail.evaluation.similarity import EveryText, Similarity
from vitrail.models.experts.clip_scorer import ClipScorer
from vitrail.models.testbeds import dual
from vitrail.recipes import loading
from vitrail.recipes.dual_encoders import DualEncoder, PairRecords, build
from vitrail.recipes.schema import Model


class Listed(list):
    """Records as a source."""

    name, root, fingerprint = "listed", None, "f" * 64


def shortened():
    """The shipped recipe on the nano suite and with nano parts."""
    scenes = {"suite": "nano-scenes-v1"}
    return loading.load(
        "house-dual-encoder",
        {
            "model.dual_encoder.parts": "nano_pretrained",
            "model.dual_encoder.projection_dim": 32,
            "data.pairs": {"kind": "scenes", "n": 600, "kinds": ["caption"], "turns": [1, 1], **scenes},
            "data.known": {
                "kind": "scenes", "fold": "test", "n": 60, "kinds": ["caption"], "turns": [1, 1], **scenes
            },
            "stages.align.trains": ["vision.projection", "text", "temperature"],
            "stages.align.learning_rate": 3e-3,
            "stages.align.batch_size": 64,
            "stages.align.max_steps": 60,
        },
    )  # fmt: skip


def test_the_shipped_recipe_shortened_is_above_chance(tmp_path):
    from vitrail.models.loading import load
    from vitrail.recipes.run import run

    result = run(shortened(), tmp_path / "run", report=False)
    found = result.scores["retrieval"]
    assert found["trained"]["chance"] <= 1 / 50
    assert found["trained"]["accuracy"] > 5 * found["trained"]["chance"]
    assert found["trained"]["interval"][0] > found["blind"]["accuracy"]
    assert found["untrained"]["accuracy"] < found["trained"]["interval"][0]
    again = run(shortened(), tmp_path / "run", report=False)  # everything is there
    assert again.scores == result.scores

    from vitrail.data.scenes import suite

    source = suite("nano-scenes-v1").conversations("test", n=60, kinds=("caption",), turns=(1, 1))
    both = retrieve(ClipScorer.from_pretrained(tmp_path / "run"), source)
    assert load(tmp_path / "run").family.kind == "dual encoder"
    rows = [json.loads(line) for line in (tmp_path / "run/evaluation/retrieval/trained.jsonl").open()][1:]
    share = sum(row["correct"] for row in rows) / len(rows)
    assert both.image_to_text.recall[1].value == pytest.approx(share, abs=1 / 60)
    assert both.text_to_image.recall[5].value > 2 * both.text_to_image.chance[5]


@pytest.mark.parametrize(
    ("trains", "stays"), [(["vision.projection", "text"], True), (["vision"], False), (["all"], False)]
)
def test_a_tower_that_rests_is_run_once_for_each_picture(trains, stays):
    from vitrail.recipes.training_run import takes_features, tower_stays

    assert tower_stays(loading.load("house-dual-encoder", {"stages.align.trains": trains})) == stays
    assert takes_features(dual.nano())


def test_a_plan_counts_its_parts():
    from vitrail.recipes.plan import plan

    made = plan(loading.load("house-dual-encoder"), measure_speed=False)
    assert made.parameters == 26_956_289
    (stage,) = made.stages
    assert stage.trained == {"vision": 921_600, "text": 98_304, "temperature": 1}
    assert stage.records == 6000 and stage.flops_a_step > 1e9 and made.seconds is None


def test_a_clip_of_ones_own_is_tuned_by_a_recipe(tmp_path):
    import transformers as T

    import dual_encoders
    from vitrail.models.loading import load
    from vitrail.recipes.run import run

    dual_encoders.save("clip", tmp_path / "clip", context=64)
    overrides = {
        "model": {"path": str(tmp_path / "clip")},
        "data.pairs.suite": "nano-scenes-v1",
        "data.pairs.n": 24,
        "data.known.suite": "nano-scenes-v1",
        "data.known.n": 6,
        "stages.align.trains": ["all"],
        "stages.align.batch_size": 8,
        "stages.align.max_steps": 3,
    }
    result = run(loading.load("house-dual-encoder", overrides), tmp_path / "run", report=False)
    assert result.scores["retrieval"]["trained"]["n"] == 6
    before, after = load(tmp_path / "clip").model, load(tmp_path / "run").model
    moved = [not torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items()]
    assert type(after) is T.CLIPModel and sum(moved) > len(moved) / 2


@pytest.mark.parametrize("other", [{"testbed": "nano"}, {"path": "somewhere"}, {"lora": {"r": 4}}])
def test_a_dual_encoder_stands_alone(other):
    with pytest.raises(ValueError, match="a dual encoder"):
        Model(dual_encoder={}, **other)


def test_parts_of_ones_own(tmp_path):
    from transformers import BertConfig, BertModel

    from vitrail.models.testbeds import nano

    tokenizer = nano.tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, vocab_size=len(tokenizer))).save_pretrained(tmp_path / "text")
    tokenizer.save_pretrained(tmp_path / "text")
    vision = {**nano._VISION}
    config = DualEncoder(
        tower={"name": "huggingface", "vision_config": vision}, text=str(tmp_path / "text"), projection_dim=16
    )
    first, second = build(config, seed=1), build(config, seed=1)
    assert first.model.config.text_config.hidden_size == 32
    for name, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
    with pytest.raises(ValueError, match="brings its own text"):
        DualEncoder(parts="nano", text="x")


def test_records_that_are_no_pairs_are_told_or_set_aside():
    bundle = dual.nano()
    source = Listed([chat("what?", f"a {i}", seed=i) for i in range(3)])
    source.insert(1, Document(content=(Text(text="no pair"),)))
    with pytest.raises(ValueError, match=r"record 1 of listed: .*this is a document"):
        PairRecords(source, bundle.encoder)
    records = PairRecords(source, bundle.encoder, "set_aside")
    assert records.counts == {"used": 3, "set_aside": 1} and len(records.pictures()) == 3
    assert "1 set aside (record 1" in records.sentence() and len(records.lengths) == 3
    assert records.fingerprint != PairRecords(Listed(source[2:]), bundle.encoder).fingerprint
    with pytest.raises(ValueError, match="fewer than two pairs"):
        PairRecords(Listed(source[:2]), bundle.encoder, "set_aside")


def test_retrieval_is_a_question_with_every_text():
    source = Listed([chat("what?", text, seed=i) for i, text in enumerate(["a", "b", "a"])])
    asked = EveryText(source)
    assert asked.texts == ["a", "b"] and len(asked) == 3
    assert [record.choices.answer for record in asked] == [0, 1, 0]
    assert asked[1].images == source[1].images and asked.fingerprint != source.fingerprint
    with pytest.raises(ValueError, match="1 different texts"):
        EveryText(Listed([source[0], source[2]]))


def test_similarity_ranks_as_the_model_does_whatever_the_batch(nano):
    from vitrail.evaluation.instructions import Prompt

    bundle, inferencer = dual.nano(), Similarity(Similarity.Config())
    options = ("a red cat", "a dog", "a dog on the left", "nothing")
    prompts = []
    for seed in range(3):
        question = chat("which?", seed=seed)
        prompts.append(Prompt(question, "", options))
    asked = [inferencer.encode(bundle, prompt, None) for prompt in prompts]
    rows = inferencer.ask(bundle, asked, 16)
    words = bundle.tokenizer(list(options), padding=True, return_tensors="pt")
    pixels = bundle.processor.image_processor(
        images=[picture(100 * seed).open() for seed in range(3)], return_tensors="pt"
    )["pixel_values"]
    with torch.no_grad():
        logits = bundle.model(words["input_ids"], pixels, words["attention_mask"]).logits_per_image
    for row, expected in zip(rows, logits, strict=True):
        np.testing.assert_allclose(row["values"], expected.numpy(), atol=1e-4)
        assert row["choice"] == int(expected.argmax()) and not row["tie"]
    for row, other in zip(rows, inferencer.ask(bundle, asked, 1), strict=True):
        np.testing.assert_allclose(row["values"], other["values"], atol=1e-4)
    with pytest.raises(ValueError, match="no options"):
        inferencer.encode(bundle, Prompt(chat("which?")), None)
    with pytest.raises(ValueError, match="has 2 pictures"):
        inferencer.encode(bundle, Prompt(chat("which?", images=2), "", options), None)
    with pytest.raises(ValueError, match="needs a dual encoder"):
        inferencer.encode(nano, prompts[0], None)

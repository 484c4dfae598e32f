"""Another connector in a ready model: of each family, with tokens that follow, through saving and generation."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from conftest import chat, picture
from vitrail.data.records import Chat
from vitrail.inference.generation import GenerationSettings, generate_from
from vitrail.inference.inputs import extended, model_inputs
from vitrail.inference.likelihood import option_logprobs
from vitrail.models import anatomy
from vitrail.models.bundle import Bundle
from vitrail.models.features import Features
from vitrail.models.loading import load
from vitrail.models.surgery.operating import operate, outline

OVIS = {"name": "ovis", "words": 48, "stride": 2}
POOLED = {"name": "mlp", "pool": 2}
FREE = ("llava", "qwen2_vl", "qwen2_5_vl", "idefics3", "smolvlm", "internvl", "paligemma", "gemma3")
each = pytest.mark.parametrize("name", ("llava", "qwen2_5_vl", "smolvlm", "internvl"))


def changed(folder, connector, seed=0):
    bundle = load(folder)
    operate(bundle.model, "connector", {"connector": connector}, seed=seed)
    return Bundle.of(bundle.model.eval(), bundle.processor)


def records():
    two = [
        picture(50, (70, 20)),
        {"type": "text", "text": "and"},
        picture(51, (15, 40)),
        {"type": "text", "text": "?"},
    ]
    return [
        chat("hello there", "good day", images=0),
        Chat(messages=[{"role": "user", "content": two}, {"role": "assistant", "content": "yes, they do"}]),
        chat("what is this?", "a cat"),
    ]


def logits(bundle, encoded, side="right"):
    batch = bundle.collator(side)(encoded)
    with torch.inference_mode():
        found = bundle.model(**model_inputs(bundle.model, batch), use_cache=False).logits
    return [row[mask.bool()] for row, mask in zip(found, batch["attention_mask"], strict=True)]


def prompts(bundle):
    return [
        bundle.encoder.encode(Chat(messages=r.messages[:1]), add_generation_prompt=True) for r in records()
    ]


@pytest.mark.parametrize(("name", "connector"), itertools.product(FREE, (OVIS, POOLED)))
def test_tokens_follow_and_rows_do_not_depend_on_each_other(saved_family, name, connector):
    bundle = changed(saved_family(name), connector if name != "internvl" else {**connector, "stride": 1})
    encoded = [bundle.encoder.encode(record) for record in records()]
    for side in ("left", "right"):
        for one, row in zip(encoded, logits(bundle, encoded, side), strict=True):
            (alone,) = logits(bundle, [one])
            torch.testing.assert_close(row.log_softmax(-1), alone.log_softmax(-1), atol=1e-5, rtol=0)
    other = bundle.encoder.encode(chat("what is this?", "a cat", seed=7))
    assert (logits(bundle, [other])[0][-1] - logits(bundle, [encoded[2]])[0][-1]).abs().max() > 1e-4


def test_a_picture_costs_what_the_new_connector_gives(saved_family):
    counts = {}
    for name, connector in itertools.product(("llava", "qwen2_5_vl", "smolvlm"), (OVIS, POOLED)):
        bundle = changed(saved_family(name), connector)
        planner = bundle.encoder.planner
        counts[name, connector["name"]] = planner(16, 16).num_tokens
        assert len(planner.several([(16, 16), (40, 30)])) == 2
    tiles = 10 if counts["smolvlm", "mlp"] > 4 else 1
    assert counts["llava", "ovis"] == 6 and counts["llava", "mlp"] == 4
    assert counts["qwen2_5_vl", "ovis"] == 6 and counts["qwen2_5_vl", "mlp"] == 4
    assert counts["smolvlm", "ovis"] == 6 * tiles and counts["smolvlm", "mlp"] == 4 * tiles


def test_a_text_with_one_placeholder_grows_by_the_tokens_and_begin_and_end(saved_family):
    bundle = changed(saved_family("llava"), OVIS)
    encoded = bundle.encoder.encode(chat("what is this?", "a cat"))
    words = encoded.length - int((encoded.modality == 1).sum())
    assert encoded.length == words + 4 + 2
    run = [
        tuple(place)
        for place in zip(encoded.row, encoded.col, encoded.modality, strict=True)
        if place[2] == 1
    ]
    assert run == [(-1, -1, 1), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1), (-1, -1, 1)]


@each
def test_generation_equals_recomputation_beams_too(saved_family, name):
    bundle = changed(saved_family(name), {**OVIS, "stride": 1 if name == "internvl" else 2})
    asked = prompts(bundle)
    replies = generate_from(bundle, asked, GenerationSettings(max_new_tokens=3))
    ends = {*bundle.encoder.end_of_turn, bundle.tokenizer.eos_token_id}
    for prompt, reply in zip(asked, replies, strict=True):
        said = []
        while len(said) < 3:
            token = int(logits(bundle, [extended(prompt, said)])[0][-1].argmax())
            if token in ends:
                break
            said.append(token)
        assert list(reply.tokens) == said
    beams = GenerationSettings(max_new_tokens=2, num_beams=2)
    together = [reply.tokens for reply in generate_from(bundle, asked, beams)]
    assert together == [generate_from(bundle, [prompt], beams)[0].tokens for prompt in asked]


@each
def test_likelihoods_equal_a_plain_forward(saved_family, name):
    bundle = changed(saved_family(name), {**OVIS, "stride": 1 if name == "internvl" else 2})
    options = [bundle.encoder.answer_ids(text) for text in ("a cat", "no")]
    found = option_logprobs(
        bundle.model, bundle.collator(), [(prompt, options) for prompt in prompts(bundle)]
    )
    for prompt, scores in zip(prompts(bundle), found, strict=True):
        for option, values in zip(options, scores.tokens, strict=True):
            row = logits(bundle, [extended(prompt, option)])[0].log_softmax(-1)
            plain = row[prompt.length - 1 : -1].gather(-1, torch.tensor(option)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(values), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ("nano", "llava", "qwen2_5_vl", "smolvlm", "internvl"))
def test_saved_and_loaded_it_is_the_same(saved_family, name, tmp_path):
    bundle = changed(saved_family(name), {"name": "mlp", "pool": None, "cell_embedding": False})
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.model.state_dict().keys() == bundle.model.state_dict().keys()
    encoded = [bundle.encoder.encode(record) for record in records()]
    assert [e.input_ids.tolist() for e in encoded] == [
        again.encoder.encode(record).input_ids.tolist() for record in records()
    ]
    for one, other in zip(logits(bundle, encoded), logits(again, encoded), strict=True):
        assert torch.equal(one, other)
    assert type(again.model).__name__ == type(bundle.model).__name__
    (once,) = logits(again, encoded[2:])
    clone = copy.deepcopy(again.model)
    with torch.no_grad():
        for parameter in anatomy.part(again.model, "connector").parameters():
            parameter.zero_()
    again.model = clone
    assert torch.equal(logits(again, encoded[2:])[0], once)


def test_our_own_model_takes_another_one_with_begin_and_end(saved_family, tmp_path):
    bundle = changed(saved_family("nano"), {"name": "ovis", "words": 48, "pool": 2})
    encoded = bundle.encoder.encode(chat("what is this?", "a cat"))
    assert (encoded.modality == 1).sum() == 6
    assert bundle.model.config.connector["name"] == "ovis"
    first = logits(bundle, [encoded])[0]
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert torch.equal(logits(again, [again.encoder.encode(chat("what is this?", "a cat"))])[0], first)
    reply = generate_from(again, prompts(again), GenerationSettings(max_new_tokens=2))
    assert len(reply) == 3


@pytest.mark.parametrize("name", ("nano", "llava", "qwen2_5_vl", "smolvlm"))
def test_it_is_drawn_with_the_seed_like_the_words_and_it_learns(saved_family, name):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, same, other = (
        changed(saved_family(name), {"name": "ovis", "words": 3000, "pool": 4}, seed) for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.get_rng_state())
    weights = [dict(anatomy.part(b.model, "connector").named_parameters()) for b in (one, same, other)]
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key])
    key = next(key for key in weights[0] if key.endswith("table.weight"))
    assert not torch.equal(weights[0][key], weights[2][key])
    words = one.model.get_input_embeddings().weight
    assert abs(float(weights[0][key].detach().std() / words.detach().std()) - 1) < 0.02
    batch = one.collator()([one.encoder.encode(record) for record in records()])
    one.model(**model_inputs(one.model, batch), labels=batch["labels"]).loss.backward()
    assert all(value.grad is not None and bool(value.grad.any()) for value in weights[0].values())


def test_patches_of_native_pictures_reach_it_in_their_places(saved_family):
    """A connector that keeps what it gets: tokens of one picture of 4 × 6 patches, against the tower run by hand."""
    bundle = changed(saved_family("qwen2_5_vl"), {"name": "mlp", "pool": None, "cell_embedding": False})
    seen = []
    connector = bundle.model.model.visual.merger.connector
    connector.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    grid = torch.tensor([[1, 4, 6], [1, 2, 4]])
    marks = torch.arange(32)[:, None].expand(32, 32).float()
    visual = bundle.model.model.visual
    blocks = [
        [r * cols + c + off for r in (i, i + 1) for c in (j, j + 1)]
        for (rows, cols, off) in ((4, 6, 0), (2, 4, 24))
        for i in range(0, rows, 2)
        for j in range(0, cols, 2)
    ]
    order = torch.tensor(blocks).flatten()
    visual.blocks = torch.nn.ModuleList()
    visual.patch_embed = torch.nn.Identity()
    bundle.model.model.get_image_features(marks[order], grid)
    (features,) = seen
    assert isinstance(features, Features) and features.lengths.tolist() == [24, 8]
    assert features.tokens[:, 0].tolist() == list(range(32))
    assert features.coords[:24, 1:].tolist() == [[r, c] for r in range(4) for c in range(6)]


def test_families_with_newlines_keep_their_grid(saved_family):
    kept = {"name": "mlp", "pool": None, "cell_embedding": False}
    for name in ("llava_next", "llava_onevision"):
        with pytest.raises(ValueError, match="keeps the grid as it is: its tiles are cut"):
            changed(saved_family(name), POOLED)
        bundle = changed(saved_family(name), kept)
        before = load(saved_family(name))
        record = records()[1]
        assert (bundle.encoder.encode(record).input_ids == before.encoder.encode(record).input_ids).all()
        assert torch.isfinite(logits(bundle, [bundle.encoder.encode(record)])[0]).all()


@pytest.mark.parametrize(
    ("name", "reason"), [("qwen3_vl", "deepstack adds features"), ("ovis2", "indicators")]
)
def test_families_where_it_is_undefined(saved_family, name, reason):
    with pytest.raises(ValueError, match=reason):
        changed(saved_family(name), POOLED)


def test_other_things_that_cannot_be(saved_family):
    with pytest.raises(ValueError, match="no connector is called 'mpl'; did you mean 'mlp'"):
        changed(saved_family("llava"), {"name": "mpl"})
    with pytest.raises(ValueError, match="needs a name"):
        changed(saved_family("llava"), {"pool": 2})
    with pytest.raises(ValueError, match="cell_words cannot stand in 'qwen2_5_vl'"):
        changed(saved_family("qwen2_5_vl"), {"name": "mlp", "pool": 2, "cell_words": True})
    bundle = changed(saved_family("llava"), POOLED)
    with pytest.raises(ValueError, match="was replaced before"):
        operate(bundle.model, "connector", {"connector": POOLED})
    bundle = changed(saved_family("qwen2_5_vl"), POOLED)
    with pytest.raises(ValueError, match="videos are not known"):
        bundle.model.get_video_features(torch.zeros(16, 96), torch.tensor([[1, 4, 4]]))
    strange = load(saved_family("llava"))
    strange.model.config.vision_feature_select_strategy = "full"
    with pytest.raises(ValueError, match="keeps the tower's class token"):
        operate(strange.model, "connector", {"connector": POOLED})


def test_words_in_front_of_cells_stand_in_a_llava(saved_family):
    bundle = changed(saved_family("llava"), {"name": "mlp", "pool": 2, "cell_words": True})
    encoded = bundle.encoder.encode(chat("what is this?", "a cat"))
    assert (encoded.modality == 1).sum() == 4 and "bottom right:" in bundle.tokenizer.decode(
        encoded.input_ids
    )
    assert torch.isfinite(logits(bundle, [encoded])[0]).all()


@pytest.mark.parametrize("name", ("llava", "qwen2_5_vl"))
def test_a_plan_needs_no_weights(saved_family, name):
    whole = changed(saved_family(name), {"name": "ovis", "words": 200})
    plain = load(saved_family(name)).model
    with torch.device("meta"):
        shape = type(plain)(plain.config)
        outline(shape, "connector", {"connector": {"name": "ovis", "words": 200}})
    assert {k: v.shape for k, v in shape.state_dict().items()} == {
        k: v.shape for k, v in whole.model.state_dict().items()
    }

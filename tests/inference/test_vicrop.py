"""The model's own maps over a picture, and the second look that they lead to."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import families
from conftest import chat, picture
from vitrail.data.records import Chat
from vitrail.inference import importance
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.inputs import model_inputs
from vitrail.inference.methods import TRACE, build, parse, using
from vitrail.inference.vicrop import ViCrop, View, as_part, look_again, with_question
from vitrail.models.capture import attention_in_graph, attention_rows
from vitrail.models.loading import load

SIZE = (40, 48)


def asked(text="what is it", seed=3, size=SIZE, **fields):
    return Chat(
        messages=[{"role": "user", "content": [picture(seed, size), {"type": "text", "text": text}]}],
        **fields,
    )


@pytest.fixture(scope="module")
def bundle(saved_family):
    """By name, each loaded once."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = load(str(saved_family(name)))
        return found[name]

    return get


def eager_row(model, inputs, layer):
    """What transformers returns with eager attention: the last row of a layer's weights, by head."""
    text, before = model.get_decoder().config, model.get_decoder().config._attn_implementation
    text._attn_implementation = "eager"
    try:
        with torch.no_grad():
            return model(**inputs, use_cache=False, output_attentions=True).attentions[layer][0, :, -1]
    finally:
        text._attn_implementation = before


@pytest.mark.parametrize("family", families.MULTIMODAL)
def test_every_family_looks_again(family, bundle):
    one, question = bundle(family), asked()
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    plain = generate(one, [question], GenerationSettings(max_new_tokens=3))
    for kind in ("relative", "gradient", "pixels"):
        method = ViCrop(ViCrop.Config(map=kind, base=16))
        found = method.map(one, question)
        assert found.ndim == 2 and np.isfinite(found).all() and (found >= 0).all()
        if kind != "relative":
            continue
        with using(one, [("vicrop", method)]) as looking:
            encoded = looking.encoder.encode(question, add_generation_prompt=True)
            left, top, right, bottom = encoded.meta[TRACE]["vicrop"]["box"]
            generate(looking, [question], GenerationSettings(max_new_tokens=2))
        assert 0 <= left < right <= SIZE[0] and 0 <= top < bottom <= SIZE[1]
        assert len(encoded.images) == 2 and encoded.images[0] == question.images[0]
        crop = encoded.images[1].open()
        assert np.array_equal(crop, question.images[0].open().crop((left, top, right, bottom)))
    assert all(torch.equal(value, before[name]) for name, value in one.model.state_dict().items())
    assert all(parameter.grad is None for parameter in one.model.parameters())
    assert generate(one, [question], GenerationSettings(max_new_tokens=3)) == plain


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "smolvlm", "gemma3", "paligemma"])
def test_the_map_is_the_models_own_attention_at_the_pictures_tokens(family, bundle):
    one = bundle(family)
    view = View.of(one, asked(), SIZE)
    (layer,) = importance.layers_of(one.model, None)
    found = importance.answer_to_image_attention(one.model, view.inputs, view.span)
    row = eager_row(one.model, view.inputs, layer).mean(0)
    wanted = row[view.span.places].reshape(found.shape).double().numpy()
    assert np.abs(found - wanted).max() < 1e-6 and 0 < found.sum() <= 1
    ids = view.inputs["input_ids"][0]
    assert (ids[view.span.places] == one.model.config.image_token_id).all()
    with attention_rows(one.model, [layer]) as rows, torch.no_grad():
        one.model(**view.inputs, use_cache=False)
    assert torch.allclose(rows[layer].sum(-1), torch.ones(()), atol=1e-5)


def test_an_identity_of_a_connector_changes_nothing(bundle):
    one = bundle("llava")
    view = View.of(one, asked(), SIZE)
    plain = importance.answer_to_image_attention(one.model, view.inputs, view.span)
    same = torch.eye(16).expand(3, -1, -1)
    again = importance.answer_to_image_attention(one.model, view.inputs, view.span, None, same)
    assert np.array_equal(plain, again)
    turned = importance.answer_to_image_attention(one.model, view.inputs, view.span, None, same.flip(-1))
    assert np.array_equal(plain, turned[::-1, ::-1])
    with pytest.raises(ValueError, match="connector_attention is"):
        importance.answer_to_image_attention(one.model, view.inputs, view.span, None, torch.ones(1, 4, 16))


def test_relative_to_itself_is_one_and_scale_does_not_matter(bundle):
    one = bundle("qwen2_vl")
    question = asked("Write a general description of the image.")
    assert (ViCrop().map(one, question) == 1).all()
    draw = np.random.default_rng(0)
    a, b = draw.random((3, 4)), draw.random((3, 4))
    assert np.allclose(importance.relative(8 * a, 8 * b), importance.relative(a, b), rtol=0, atol=0)
    assert importance.relative(np.array([[0.0, 2.0]]), np.array([[0.0, 4.0]])).tolist() == [[1.0, 0.5]]
    with pytest.raises(ValueError, match="zero everywhere"):
        importance.relative(a, np.zeros((3, 4)))
    with pytest.raises(ValueError, match="not finite"):
        importance.relative(a * np.nan, b)


def test_the_gradient_equals_a_finite_difference(bundle):
    """An added change of the last row's weights, made by hand in the layer that is read."""
    one = bundle("llava")
    model = one.model.double()
    try:
        inputs = {
            name: value.double() if value.is_floating_point() else value
            for name, value in View.of(one, asked(), SIZE).inputs.items()
        }
        layer, places = 1, [3, 9]
        with torch.enable_grad(), attention_in_graph(model, [layer]) as found:
            value = importance._answer(model(**inputs, use_cache=False))
            (gradient,) = torch.autograd.grad(value, found[layer])

        def at(head, token, step):
            projection = model.get_decoder().layers[layer].self_attn
            taken = {}

            def keep(module, args, output):
                taken["value"] = output

            def add(module, args):
                heads = args[0].clone()
                dim = projection.head_dim
                kv = head // projection.num_key_value_groups
                v = taken["value"][0, token, kv * dim : (kv + 1) * dim]
                heads[0, -1, head * dim : (head + 1) * dim] += step * v
                return (heads,)

            handles = [
                projection.v_proj.register_forward_hook(keep),
                projection.o_proj.register_forward_pre_hook(add),
            ]
            try:
                with torch.no_grad():
                    return float(model(**inputs, use_cache=False).logits[0, -1].log_softmax(-1)[answer])
            finally:
                for handle in handles:
                    handle.remove()

        with torch.no_grad():
            answer = int(model(**inputs, use_cache=False).logits[0, -1].argmax())
        for head in range(4):
            for token in places:
                slope = (at(head, token, 1e-4) - at(head, token, -1e-4)) / 2e-4
                # The model's own eager attention takes its softmax in float32.
                assert slope == pytest.approx(float(gradient[0, head, -1, token]), rel=5e-3, abs=1e-5)
    finally:
        model.float()


def test_the_gradients_map_by_hand(bundle):
    one = bundle("smolvlm")
    view = View.of(one, asked(), SIZE)
    found = importance.gradient_attention(one.model, view.inputs, view.span, 1)
    with torch.enable_grad(), attention_in_graph(one.model, [1]) as weights:
        value = importance._answer(one.model(**view.inputs, use_cache=False))
        (gradient,) = torch.autograd.grad(value, weights[1])
    by_hand = (weights[1] * gradient.relu())[0, :, -1].mean(0)[view.span.places].detach()
    assert np.abs(found - by_hand.double().numpy().reshape(found.shape)).max() < 1e-7
    assert found.min() >= 0 and found.max() > 0
    averaged = importance.gradient_attention(one.model, view.inputs, view.span, "mean")
    assert averaged.shape == found.shape


def test_permuted_tokens_permute_the_map(bundle):
    one = bundle("llava")
    view = View.of(one, asked(), SIZE)
    found = importance.answer_to_image_attention(one.model, view.inputs, view.span)
    order = np.random.default_rng(0).permutation(16)
    span = importance.ImageSpan(view.span.places[order], 4, 4)
    other = importance.answer_to_image_attention(one.model, view.inputs, span)
    assert np.array_equal(other.reshape(-1), found.reshape(-1)[order])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda one, view: importance.answer_to_image_attention(one.model, view.inputs, view.span, 7),
            "layers 0 to 2",
        ),
        (lambda one, view: importance.ImageSpan(view.span.places, 3, 4), "no grid of 3 × 4"),
        (lambda one, view: importance.ImageSpan(view.span.places[:0], 0, 0), "no token of the picture"),
    ],
)
def test_wrong_layers_and_spans_are_refused(call, words, bundle):
    one = bundle("llava")
    with pytest.raises(ValueError, match=words):
        call(one, View.of(one, asked(), SIZE))


def test_several_prompts_at_once_and_other_attention_are_refused(bundle):
    one = bundle("llava")
    encoded = [one.encoder.encode(asked(text), add_generation_prompt=True) for text in ("a", "a b c d")]
    batch = model_inputs(one.model, one.collator("left")(encoded))
    span = View.of(one, asked(), SIZE).span
    with pytest.raises(ValueError, match="one prompt without padding"):
        importance.answer_to_image_attention(one.model, batch, span)
    one.model.get_decoder().config._attn_implementation = "flex_attention"
    try:
        with pytest.raises(ValueError, match="shows no attention"):
            importance.answer_to_image_attention(one.model, View.of(one, asked(), SIZE).inputs, span)
    finally:
        one.model.get_decoder().config._attn_implementation = "sdpa"


def test_a_planted_model_sees_its_target_larger(bundle, monkeypatch):
    """Attention forced to where the picture is red: the crop holds it, and shows it larger than before."""
    pixels = np.full((96, 96, 3), 40, np.uint8)
    pixels[70:80, 14:24] = (255, 0, 0)
    one = bundle("llava")

    def red(model, inputs, span, layer, connector_attention=None):
        values = inputs["pixel_values"][0]
        redness = (values[0] - values[1:].mean(0)).clamp(min=0).numpy()
        return importance.pooled(redness, span.rows, span.cols) + 1e-3

    monkeypatch.setattr(importance, "gradient_attention", red)
    question = Chat(
        messages=[
            {"role": "user", "content": [as_part(PILImage.fromarray(pixels)), {"type": "text", "text": "?"}]}
        ]
    )
    with using(one, [("vicrop", {"map": "gradient", "base": 32})]) as looking:
        images = looking.encoder.encode(question, add_generation_prompt=True).images

    def share(part):
        values = np.asarray(part.open()).astype(int)
        return ((values[..., 0] - values[..., 1]) > 100).mean()

    assert share(images[1]) > 4 * share(images[0])


def test_comparisons_random_and_given(bundle):
    one = bundle("llava")
    relative, random = (ViCrop(ViCrop.Config(map=kind, base=12)) for kind in ("relative", "random"))

    def box(method, question):
        return method.rewrite(one, question, None).trace["box"]

    boxes = [[box(method, asked(seed=seed)) for seed in range(6)] for method in (relative, random)]
    assert boxes[1] == [box(random, asked(seed=seed)) for seed in range(6)], "the same for the same question"
    assert [b[2] - b[0] for b in boxes[0]] == [b[2] - b[0] for b in boxes[1]] and boxes[0] != boxes[1]
    given = ViCrop(ViCrop.Config(map="given"))
    assert box(given, asked(meta={"box": [1, 2, 30, 40]})) == [1, 2, 30, 40]
    scene = {"scene": {"objects": [{"box": [0, 0, 9, 9]}, {"box": [3, 4, 5, 6]}]}, "about": [1]}
    assert box(given, asked(meta=scene)) == [3, 4, 5, 6]
    with pytest.raises(ValueError, match=r"no meta\.box"):
        given.rewrite(one, asked(), None)
    with pytest.raises(ValueError, match="does not lie in"):
        given.rewrite(one, asked(meta={"box": [1, 2, 300, 40]}), None)


def test_large_pictures_are_looked_at_in_tiles(bundle):
    one = bundle("qwen2_vl")
    question = asked(size=(64, 96))
    done = ViCrop(ViCrop.Config(tile=32, base=16)).rewrite(one, question, None)
    left, top, right, bottom = done.trace["box"]
    assert 0 <= left < right <= 64 and 0 <= top < bottom <= 96 and len(done.chat.images) == 2


def test_a_conversation_keeps_its_turns_and_words_alone_stay(bundle):
    one = bundle("llava")
    talk = chat("look", "a cat", "and its tail?", seed=4)
    done = ViCrop(ViCrop.Config(base=8)).rewrite(one, talk, None)
    assert [len(message.content) for message in done.chat.messages] == [3, 1, 1]
    assert with_question(talk, "x").messages[-1].text == "x" and len(with_question(talk, "x").images) == 1
    words = Chat(messages=[{"role": "user", "content": "hello"}])
    assert ViCrop().rewrite(one, words, None).chat is words


def test_pictures_are_found_below_their_root_and_answers_come_together(bundle, tmp_path):
    one = bundle("llava")
    (tmp_path / "a.png").write_bytes(asked().images[0].bytes)
    question = Chat(
        messages=[
            {
                "role": "user",
                "content": [{"type": "image", "path": "a.png"}, {"type": "text", "text": "what is it"}],
            }
        ]
    )
    config = ViCrop.Config(base=16)
    found, inline = (
        look_again(one, which, config, root=root) for which, root in ((question, tmp_path), (asked(), None))
    )
    assert found.box == inline.box and found.cropped_answer == inline.cropped_answer
    assert found.map.shape == (4, 4) and found.answer == inline.answer
    assert io.BytesIO(asked().images[0].bytes).getvalue() == (tmp_path / "a.png").read_bytes()


def test_a_frozen_towers_model_gives_no_pixels(nano):
    view = View.of(nano, asked(), SIZE)
    inputs = {name: value for name, value in view.inputs.items() if name != "pixel_values"}
    with pytest.raises(ValueError, match="fed pixel_values"):
        importance.pixel_gradient(nano.model, inputs)
    assert ViCrop().map(nano, asked()).shape == (view.span.rows, view.span.cols)


def test_settings_are_read_and_wrong_ones_refused():
    assert parse("vicrop:map=gradient,layer=3,tile=1024") == (
        "vicrop",
        {"map": "gradient", "layer": 3, "tile": 1024},
    )
    assert build("vicrop", {"layer": "mean"}).config.layer == "mean"
    for settings, words in (({"mapp": "x"}, "mapp"), ({"base": 0}, "base"), ({"map": "best"}, "map")):
        with pytest.raises(ValueError, match=words):
            build("vicrop", settings)
    with pytest.raises(ValueError, match=r"did you mean 'vicrop'"):
        build("vicrp")
    with pytest.raises(ValueError, match="'gradient' is no field=value"):
        parse("vicrop:gradient")
    assert json.dumps(ViCrop.Config().model_dump())

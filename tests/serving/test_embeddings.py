"""Embeddings through the official client: the library's vectors, of texts and of pictures."""

import base64

import numpy as np
import openai
import pytest

import dual_encoders
import encoders
from conftest import picture
from endpoint import NAME, question, served
from vitrail.models.experts.clip_scorer import ClipScorer
from vitrail.models.loading import load

TEXTS = ["a dog", "a cat sleeps", "Ada"]


def url(image):
    return f"data:image/png;base64,{base64.b64encode(image.bytes).decode()}"


@pytest.fixture(scope="module", params=dual_encoders.KINDS)
def dual(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    dual_encoders.save(request.param, folder)
    bundle = load(folder)
    with served(bundle) as running:
        yield bundle, running


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    encoders.save("bert", folder)
    bundle = load(folder)
    with served(bundle, inputs=4) as running:
        yield bundle, running


def test_texts_of_a_dual_encoder(dual):
    bundle, running = dual
    answer = running.client().embeddings.create(model=NAME, input=TEXTS)
    expected = ClipScorer(bundle.model, bundle.processor).embed_texts(TEXTS)
    assert np.allclose([one.embedding for one in answer.data], expected, atol=1e-6)
    assert [one.index for one in answer.data] == [0, 1, 2] and answer.usage.prompt_tokens > 3
    alone = running.client().embeddings.create(model=NAME, input=TEXTS[1], encoding_format="float")
    assert np.allclose(alone.data[0].embedding, expected[1], atol=1e-6)


def test_a_picture_of_a_dual_encoder(dual):
    bundle, running = dual
    part = {"type": "image_url", "image_url": {"url": url(picture(1))}}
    body = {"model": NAME, "messages": [{"role": "user", "content": [part]}]}
    status, _, answer = running.send(body, "/v1/embeddings")
    expected = ClipScorer(bundle.model, bundle.processor).embed_images([picture(1).open()])
    assert status == 200 and np.allclose(answer["data"][0]["embedding"], expected[0], atol=1e-6)


def test_texts_of_a_masked_encoder(words):
    bundle, running = words
    answer = running.client().embeddings.create(model=NAME, input=TEXTS)
    expected = bundle.embed(TEXTS).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose([one.embedding for one in answer.data], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": []}, "input: is an empty list; give a text"),
        ({"input": ""}, "input is empty; give a text"),
        ({"input": ["a", " "]}, "input[1] is empty"),
        ({"input": [1, 2]}, "input: holds tokens; give texts"),
        ({"input": [[1, 2]]}, "input: holds tokens; give texts"),
        ({}, "input: give a text here, or messages with one picture"),
        ({"input": "a", "dimensions": 7}, "dimensions is 7; this model's embeddings have 32"),
        ({"input": ["a"] * 5}, "input has 5 texts; this server takes 4"),
        ({"input": "word " * 500}, "more than this model's 80; shorten it"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format: must be"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": url(picture(1))}}],
                    }
                ]
            },
            "which takes no pictures",
        ),
    ],
)
def test_what_is_refused(words, body, says):
    status, _, answer = words[1].send({"model": NAME, **body}, "/v1/embeddings")
    assert status == 400 and says in answer["error"]["message"], answer


def test_each_kind_says_what_it_does_not_do(nano, words):
    status, _, answer = words[1].send(question())
    assert status == 400 and "writes no text; ask /v1/embeddings" in answer["error"]["message"]
    with (
        served(nano) as running,
        pytest.raises(openai.BadRequestError, match="writes text and gives no embeddings"),
    ):
        running.client().embeddings.create(model=NAME, input="a")

"""The endpoint through the official client: its answers are the library's, alone or in a crowd, whole or streamed."""

import base64
import concurrent.futures

import openai
import pytest

from conftest import picture
from endpoint import NAME, question, served
from vitrail.analysis.token_logprobs import token_logprobs
from vitrail.data.records import Chat
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.remote import RemoteAnswerer, RemoteSettings
from vitrail.models.loading import load
from vitrail.recipes import languages
from vitrail.recipes.schema import Language


@pytest.fixture(scope="module")
def server(nano):
    with served(nano) as running:
        yield running


@pytest.fixture(scope="module")
def language():
    """A language model alone, its weights drawn."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "llama", **sizes, "initializer_range": 0.2}
    return languages.build(Language(config=config, tokenizer="nano"), seed=0)


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def data_url(image):
    return f"data:image/png;base64,{base64.b64encode(image.bytes).decode()}"


def shown(*images, text="What is it?"):
    parts = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in images]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def expected(bundle, messages, **settings):
    return generate(bundle, [Chat(messages=messages)], GenerationSettings(**settings))[0]


def test_models_and_health(server, client):
    assert [one.id for one in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "vitrail"
    status, _, body = server.send(None, "/health", "GET")
    assert status == 200 and body == {"status": "ok", "model": NAME, "waiting": 0}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_the_one_that_generate_gives(nano, client, temperature):
    first, second = picture(1), picture(2, (40, 24))
    answer = client.chat.completions.create(
        model=NAME,
        messages=[{"role": "developer", "content": "Be brief."}, *shown(first, second)],
        max_completion_tokens=8,
        temperature=temperature,
        seed=4,
    )
    content = (first, second, {"type": "text", "text": "What is it?"})
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    reply = expected(nano, messages, max_new_tokens=8, temperature=temperature, seed=4)
    (choice,) = answer.choices
    assert choice.message.content == reply.text
    assert choice.finish_reason == ("stop" if reply.finished else "length")
    assert answer.usage.completion_tokens == len(reply.tokens) + reply.finished
    assert answer.usage.prompt_tokens > 2 and answer.model == NAME


def test_n_answers_are_those_of_consecutive_seeds(nano, client):
    messages = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.create(
        model=NAME, messages=messages, n=3, seed=7, temperature=1.2, top_p=0.9, max_tokens=8
    )
    settings = {"temperature": 1.2, "top_p": 0.9, "max_new_tokens": 8}
    replies = [expected(nano, messages, seed=7 + number, **settings).text for number in range(3)]
    assert [choice.message.content for choice in answer.choices] == replies
    assert len(set(replies)) > 1


def test_without_a_seed_answers_differ(client):
    said = {
        client.chat.completions.create(**{**question(), "temperature": 1.5, "max_tokens": 12})
        .choices[0]
        .message.content
        for _ in range(4)
    }
    assert len(said) > 1


@pytest.mark.parametrize("stop", [None, "whole"])
def test_a_stream_is_the_answer_in_pieces(client, stop):
    asked = {
        **question(),
        "max_tokens": 16,
        "temperature": 1.0,
        "seed": 2,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 1,
    }
    if stop is not None:
        text = client.chat.completions.create(**asked).choices[0].message.content
        asked["stop"] = [text[3:5]]
    whole = client.chat.completions.create(**asked)
    texts, chances, reasons, usage = {0: "", 1: ""}, {0: [], 1: []}, {}, None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            chances[choice.index] += choice.logprobs.content if choice.logprobs else []
            reasons[choice.index] = choice.finish_reason
    for choice in whole.choices:
        assert texts[choice.index] == choice.message.content
        assert chances[choice.index] == choice.logprobs.content
        assert reasons[choice.index] == choice.finish_reason
    assert usage == whole.usage
    assert stop is None or (reasons[0] == "stop" and asked["stop"][0] not in texts[0])


def test_likelihoods_as_harnesses_ask_for_them(nano, client):
    text = "the dog sees a cat"
    answer = client.completions.create(
        model=NAME, prompt=[text, "a cat"], max_tokens=0, echo=True, logprobs=2, temperature=0
    )
    first = answer.choices[0]
    (known,) = token_logprobs(nano, [text])
    assert first.text == text and first.logprobs.token_logprobs[0] is None
    assert first.logprobs.token_logprobs[1:] == pytest.approx(list(known), abs=1e-5)
    assert all(len(likely) == 2 for likely in first.logprobs.top_logprobs[1:])
    ids = nano.tokenizer(text)["input_ids"]
    tokens = client.completions.create(
        model=NAME, prompt=ids, max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    assert tokens.choices[0].logprobs.token_logprobs[1:-1] == pytest.approx(list(known), abs=1e-5)
    assert len(answer.choices) == 2 and tokens.choices[0].text.startswith(text)


def test_a_text_goes_on_as_a_stream(client):
    asked = {
        "model": NAME,
        "prompt": "the dog",
        "max_tokens": 8,
        "temperature": 1.0,
        "seed": 1,
        "logprobs": 0,
    }
    whole = client.completions.create(**asked).choices[0]
    pieces = [chunk.choices[0] for chunk in client.completions.create(**asked, stream=True)]
    assert "".join(piece.text for piece in pieces) == whole.text
    chances = [one for piece in pieces if piece.logprobs for one in piece.logprobs.token_logprobs]
    assert chances == whole.logprobs.token_logprobs and pieces[-1].finish_reason == whole.finish_reason


def test_an_answer_is_the_same_in_a_crowd(client):
    bodies = [
        {**question(), "messages": shown(picture(n), text=f"question {n}"), "temperature": n % 2, "seed": n}
        for n in range(12)
    ]
    alone = [client.chat.completions.create(**body).choices[0].message.content for body in bodies]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        crowd = list(pool.map(lambda body: client.chat.completions.create(**body), bodies))
    assert [answer.choices[0].message.content for answer in crowd] == alone


def test_our_own_client_gets_the_same_answers(nano, server, tmp_path):
    """`vitrail eval --address`, judges and loops ask through it."""
    chats = [
        Chat(messages=[{"role": "user", "content": (picture(n), {"type": "text", "text": "?"})}])
        for n in (1, 2)
    ]
    answerer = RemoteAnswerer(RemoteSettings(base_url=server.url, model=NAME), cache=tmp_path)
    settings = GenerationSettings(max_new_tokens=5, temperature=1.0, seed=2)
    assert [reply.text for reply in answerer.ask(chats, settings)] == [
        reply.text for reply in generate(nano, chats, settings)
    ]


def test_three_more_families(saved_family):
    for family in ("llava", "qwen2_5_vl", "smolvlm"):
        bundle = load(saved_family(family))
        with served(bundle) as running:
            answer = running.client().chat.completions.create(**{**question(), "messages": shown(picture(3))})
            content = (picture(3), {"type": "text", "text": "What is it?"})
            reply = expected(bundle, [{"role": "user", "content": content}], max_new_tokens=6)
            assert answer.choices[0].message.content == reply.text, family


def test_a_plain_language_model(language):
    with served(language) as running:
        answer = running.client().chat.completions.create(**question())
        assert (
            answer.choices[0].message.content
            == expected(language, question()["messages"], max_new_tokens=6).text
        )
        status, _, body = running.send({**question(), "messages": shown(picture(3))})
        assert status == 400 and "takes none" in body["error"]["message"]


def test_errors_reach_the_official_client(client):
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9' here; ask for 'tested'"):
        client.chat.completions.create(**{**question(), "model": "gpt-9"})
    with pytest.raises(openai.BadRequestError, match="addresses and paths are not opened here") as caught:
        url = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/secret.png"}}
        client.chat.completions.create(**{**question(), "messages": [{"role": "user", "content": [url]}]})
    assert caught.value.param == "messages[0].content[0].image_url.url"
    with pytest.raises(openai.BadRequestError, match="more than the model's context") as caught:
        client.chat.completions.create(**question("word " * 3000))
    assert caught.value.code == "context_length_exceeded"

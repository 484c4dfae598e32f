"""Methods of inference that requests switch on: what is offered, refused, told; nobody else's answer moves."""

import base64
import concurrent.futures
import io
import json

import openai
import pytest
from PIL import Image as PILImage

from conftest import picture
from endpoint import NAME, question, served
from memories import MeanColour, concept, png
from vitrail.data.records import Chat, Image
from vitrail.inference.concepts import ConceptStore
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.methods import InferenceMethod, using
from vitrail.inference.ragllava import RagLLaVA
from vitrail.inference.rap import RAP
from vitrail.inference.vicrop import ViCrop
from vitrail.models.loading import load
from vitrail.serving.application import create
from vitrail.serving.settings import Serving

LOOKS = ("vicrop", {"base": 12, "layer": 1})
"""Reads its map where half of the visual tokens would be gone, if the other held then."""
FEW = ("gsearch", {"cuts": {1: 0.5}})
SHORT = {"max_tokens": 6, "temperature": 1, "seed": 4}
"""At a temperature: a nano model's likeliest answer says nothing, whatever it was asked."""


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """A method whose memory holds a red and a green thing, filled by mean colours."""
    path = tmp_path_factory.mktemp("memory") / "things"
    with ConceptStore.open(path, writing=True, encoder=MeanColour()) as store:
        store.add(concept("Rex"), concept("Mia"))
    config = RAP.Config(memory=str(path), regions="whole")
    return RAP(config, ConceptStore.open(path, encoder=MeanColour()))


@pytest.fixture(scope="module")
def offered(memory):
    return [LOOKS, FEW, ("rap", memory)]


@pytest.fixture(scope="module")
def server(nano, offered):
    with served(nano, offered=offered) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def shown(*images, text="What is it?"):
    urls = [f"data:image/png;base64,{base64.b64encode(one.bytes).decode()}" for one in images]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def chat_of(*images, text="What is it?"):
    content = (*images, {"type": "text", "text": text})
    return Chat(messages=[{"role": "user", "content": content}])


def said(answer):
    return answer.choices[0].message.content


def told(answer):
    return answer.model_extra.get("methods")


def expected(bundle, methods, chat):
    """The answer under the library's own ``using``."""
    settings = GenerationSettings(max_new_tokens=6, temperature=1, seed=4)
    with using(bundle, methods) as answering:
        return generate(answering, [chat], settings)[0].text


def test_models_list_what_is_offered(server, client):
    listed = client.models.retrieve(NAME).model_extra["methods"]
    assert [one["name"] for one in listed] == ["vicrop", "gsearch", "rap"]
    looks, few, remembers = listed
    assert looks["combines_with"] == ["gsearch"] and few["combines_with"] == ["vicrop", "rap"]
    assert looks["changes"] == remembers["changes"] == "the pictures of the prompt"
    assert few["in_turn"] and not looks["in_turn"] and not looks["always"]
    assert all(len(one["about"]) > 20 and "\n" not in one["about"] for one in listed)
    assert "things" not in json.dumps(server.send(None, "/v1/models", "GET")[2]), "no place of the server's"


@pytest.mark.parametrize(
    ("methods", "words", "param"),
    [
        (["vicrop", "rap"], "methods: vicrop and rap both choose the pictures of the prompt", "methods"),
        (["aim"], "methods[0]: 'aim' is not offered here; choose of vicrop, gsearch, rap", "methods[0]"),
        (["gsearch", "vicrop:base=3"], "methods[1]: 'vicrop:base=3' is not offered here", "methods[1]"),
        (["rap", "rap"], "methods[1]: 'rap' is named twice", "methods[1]"),
        ("vicrop", "methods: ", "methods"),
        ([{"name": "vicrop"}], "methods[0]: ", "methods[0]"),
    ],
)
def test_what_is_not_offered_is_refused(server, methods, words, param):
    status, _, body = server.send({**question(), "methods": methods})
    assert status == 400 and words in body["error"]["message"] and body["error"]["param"] == param


def test_without_an_offer_none_is_taken(nano):
    with served(nano) as running:
        status, _, body = running.send({**question(), "methods": ["vicrop"]})
        assert status == 400 and "start the server with --offer NAME" in body["error"]["message"]
        assert "methods" not in running.send({**question(), "methods": []})[2]
        assert running.send(None, "/v1/models", "GET")[2]["data"][0]["methods"] == []
        texts = {"model": NAME, "prompt": "a", "methods": []}
        assert running.send(texts, "/v1/completions")[0] == 400, "a text is nothing that methods rewrite"


def test_the_crop_is_the_library_s_and_told(nano, client):
    first, last = picture(1), picture(2, (40, 24))
    asked = {"model": NAME, "messages": shown(first, last), **SHORT}
    plain = client.chat.completions.create(**asked)
    answer = client.chat.completions.create(**asked, extra_body={"methods": ["vicrop"]})
    done = ViCrop(ViCrop.Config(base=12, layer=1)).rewrite(nano, chat_of(first, last), None)
    assert said(answer) == expected(nano, [LOOKS], chat_of(first, last)) != said(plain)
    assert told(answer) == {"vicrop": {"picture": 1, "size": [40, 24], "box": done.trace["box"]}}
    assert told(plain) is None and answer.usage.prompt_tokens > plain.usage.prompt_tokens
    words = client.chat.completions.create(**question(), extra_body={"methods": ["vicrop"]})
    assert told(words) == {"vicrop": {}}, "there was nothing to look at"


def test_kept_tokens_are_told_as_a_grid(nano, client):
    one = picture(3)
    asked = {"model": NAME, "messages": shown(one), **SHORT, "extra_body": {"methods": ["gsearch"]}}
    answer = client.chat.completions.create(**asked)
    assert said(answer) == expected(nano, [FEW], chat_of(one))
    found = told(answer)["gsearch"]
    (cut,), (view,) = found["cuts"], found["views"]
    cells = view["rows"] * view["cols"]
    assert (cut["layer"], cut["kept"], cut["of"]) == (1, -(-cells // 2), cells)
    assert view["picture"] == 0 and view["box"] == [0, 0, 1, 1] and len(view["seen"]) == cells
    assert sorted(set(view["seen"])) == [1, found["layers"]]
    assert view["seen"].count(found["layers"]) == cut["kept"]


def test_both_at_once_and_in_whatever_order(nano, client):
    one = picture(4)
    asked = {"model": NAME, "messages": shown(one), **SHORT}
    both = [
        client.chat.completions.create(**asked, extra_body={"methods": names})
        for names in (["gsearch", "vicrop"], ["vicrop", "gsearch"])
    ]
    assert said(both[0]) == said(both[1]) == expected(nano, [LOOKS, FEW], chat_of(one))
    assert told(both[0]) == told(both[1]) and list(told(both[0])) == ["vicrop", "gsearch"]
    few = told(both[0])["gsearch"]
    assert [view["picture"] for view in few["views"]] == [0], "the crop is none of the pictures sent"
    assert few["cuts"][0]["of"] == 2 * len(few["views"][0]["seen"])


def test_memories_are_told_with_small_pictures(nano, memory, client):
    red = Image(bytes=png((200, 10, 10), (200, 100)), width=200, height=100)
    asked = {"model": NAME, "messages": shown(red), **SHORT, "extra_body": {"methods": ["rap"]}}
    answer = client.chat.completions.create(**asked)
    assert said(answer) == expected(nano, [("rap", memory)], chat_of(red))
    (found,) = told(answer)["rap"]["memories"]
    assert (found["name"], found["by"]) == ("Rex", "picture") and found["distance"] < 0.2
    head, _, data = found["picture"].partition(";base64,")
    small = PILImage.open(io.BytesIO(base64.b64decode(data)))
    assert head.startswith("data:image/") and max(small.size) <= 96
    assert str(memory.config.memory) not in answer.model_dump_json()


def test_a_stream_tells_it_once_at_the_end_of_the_first_choice(client):
    asked = {
        "model": NAME,
        "messages": shown(picture(5)),
        "max_tokens": 6,
        "temperature": 1,
        "seed": 3,
        "n": 2,
    }
    for names in (["vicrop"], ["vicrop", "gsearch"]):
        asked["extra_body"] = {"methods": names}
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True))
        with_it = [chunk for chunk in chunks if "methods" in chunk.model_extra]
        assert [chunk.model_extra["methods"] for chunk in with_it] == [told(whole)]
        assert with_it[0].choices[0].finish_reason is not None
        texts = ["", ""]
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts == [choice.message.content for choice in whole.choices]


def crowd(client, bodies):
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        return [
            (said(one), told(one))
            for one in pool.map(lambda body: client.chat.completions.create(**body), bodies)
        ]


def mixed(sets, count=10):
    return [
        {
            "model": NAME,
            "messages": shown(picture(n % 5), text=f"question {n}"),
            "max_tokens": 5 + n % 4,
            "temperature": 0 if n == 2 else 1,
            "seed": n,
            "extra_body": {"methods": list(sets[n % len(sets)])},
        }
        for n in range(count)
    ]


def test_answers_with_and_without_methods_are_those_alone(client):
    bodies = mixed([(), ("vicrop",), ("gsearch",), ("rap",), ("vicrop", "gsearch")])
    alone = [(said(one), told(one)) for one in (client.chat.completions.create(**body) for body in bodies)]
    assert crowd(client, bodies) == alone
    assert len({text for text, _ in alone}) > 6


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "smolvlm"])
def test_three_more_families(saved_family, family):
    bundle = load(saved_family(family))
    with served(bundle, offered=[LOOKS, FEW]) as running:
        client = running.client()
        bodies = mixed([(), ("vicrop",), ("gsearch",), ("vicrop", "gsearch")], 4)
        alone = [
            (said(one), told(one)) for one in (client.chat.completions.create(**body) for body in bodies)
        ]
        assert crowd(client, bodies) == alone
        (body,) = [one for one in bodies if one["seed"] == 2]
        chat = chat_of(picture(2), text="question 2")
        with using(bundle, [FEW]) as few:
            reply = generate(few, [chat], GenerationSettings(max_new_tokens=body["max_tokens"]))[0]
        text, methods = alone[2]
        assert text == reply.text
        views, (cut,) = methods["gsearch"]["views"], methods["gsearch"]["cuts"]
        layers = methods["gsearch"]["layers"]
        kept = sum(one["seen"].count(layers) for one in views)
        assert 0 < kept <= cut["kept"] < cut["of"] and all(
            one["rows"] * one["cols"] == len(one["seen"]) for one in views
        )


def test_demonstrations_are_read_apart_and_counted(saved_family):
    """A model that was changed inside answers in turn, with a rule in its decoder or without."""
    bundle = load(saved_family("llava")).operated("aim")
    shown_before = [*shown(picture(1), text="What is it?"), {"role": "assistant", "content": "a cat"}]
    bodies = [
        {
            "model": NAME,
            "messages": [*shown_before, *shown(picture(n))],
            **SHORT,
            "extra_body": {"methods": methods},
        }
        for n, methods in enumerate(([], ["aim"], ["aim", "gsearch"]))
    ]
    with served(bundle, offered=[("aim", {}), FEW]) as running:
        client = running.client()
        alone = [
            (said(one), told(one)) for one in (client.chat.completions.create(**body) for body in bodies)
        ]
        assert crowd(client, bodies) == alone
    plain, apart, few = (methods for _, methods in alone)
    assert plain is None and apart == {"aim": {"demonstrations": 1}}
    assert few["aim"] == {"demonstrations": 1}
    assert [view["picture"] for view in few["gsearch"]["views"]] == [1], "the other picture is read apart"


def test_evidence_is_told(nano, tmp_path):
    path = tmp_path / "things"
    with ConceptStore.open(path, writing=True, encoder=MeanColour()) as store:
        store.add(concept("Rex"), concept("Mia"))
    config = RagLLaVA.Config(memory=str(path), k=2, n=1)
    method = RagLLaVA(config, ConceptStore.open(path, encoder=MeanColour()))
    with served(nano, offered=[("ragllava", method)]) as running:
        body = {**question("something green"), "methods": ["ragllava"]}
        found = running.send(body)[2]["methods"]["ragllava"]
        assert found["candidates"] == 2 and set(found["evidence"][0]) == {
            "name",
            "distance",
            "p_yes",
            "picture",
        }
        with ConceptStore.open(path, writing=True, encoder=MeanColour()) as store:
            store.remove("Rex", "Mia")
        status, _, answer = running.send(body)
        assert status == 400 and answer["error"]["message"].startswith(
            "methods: ragllava: ragllava's memory holds no picture"
        )


def test_prompt_methods_share_steps_and_others_wait_their_turn(nano, offered, monkeypatch):
    """What runs beside what: rows of a rewritten prompt with others', an order with a rule alone."""
    from vitrail.inference.continuous_batching import Running
    from vitrail.models.rules.standing import standing

    seen = []
    step = Running.step

    def watched(self):
        seen.append((len(self.rows), bool(standing(self._model))))
        return step(self)

    monkeypatch.setattr(Running, "step", watched)
    with served(nano, offered=offered) as running:
        crowd(running.client(), mixed([("vicrop",), (), ("gsearch",)], 6))
    assert max(rows for rows, _ in seen) > 1
    assert not any(stands for rows, stands in seen if rows)


class Fails(InferenceMethod):
    """A method that cannot, and says where its file is."""

    changes = "nothing"

    def __init__(self, place):
        self.config = RAP.Config(memory=str(place))

    def rewrite(self, bundle, chat, root):
        raise ValueError(f"{self.config.memory} holds nothing")


def test_no_place_of_the_server_s_is_told(nano, tmp_path):
    with served(nano, offered=[("fails", Fails(tmp_path / "secret"))]) as running:
        monkey = {**question(), "methods": ["fails"]}
        status, _, body = running.send(monkey)
        assert status == 400 and body["error"]["message"] == "methods: fails: fails's memory holds nothing"
        listed = running.send(None, "/v1/models", "GET")[2]["data"][0]["methods"]
        assert listed[0]["about"] == "chooses nothing"
        assert body["error"]["param"] == "methods"
        assert running.send(question())[0] == 200


def test_what_does_not_fit_is_refused_at_the_start(nano, memory, tmp_path):
    def refused(words, bundle=nano, offered=(), always=()):
        with pytest.raises(ValueError, match=words), using(bundle, always) as served_bundle:
            create(served_bundle, Serving(name="m"), None, offered)

    refused("no inference is called 'vicrob'; did you mean 'vicrop'", offered=[("vicrob", {})])
    refused("vicrop is offered twice", offered=[LOOKS, LOOKS])
    refused("gsearch cannot be offered: a cut is at layer 9", offered=[("gsearch", {"cuts": {9: 0.5}})])
    refused("aim cannot be offered: .* has not undergone the surgery 'aim'", offered=[("aim", {})])
    refused("there is no memory at", offered=[("rap", {"memory": str(tmp_path / "none")})])
    refused("a question that is asked live has none", offered=[("vicrop", {"map": "given"})])
    refused("rap cannot be offered: vicrop and rap both choose", offered=[("rap", memory)], always=[LOOKS])
    refused("a question that is asked live has none", always=[("vicrop", {"map": "given"})])


def test_beside_methods_that_are_always_on(nano):
    one = picture(6)
    asked = {"model": NAME, "messages": shown(one), **SHORT}
    both = expected(nano, [LOOKS, FEW], chat_of(one))
    alone = {name: expected(nano, [(name, settings)], chat_of(one)) for name, settings in (LOOKS, FEW)}
    for always, offer in ((LOOKS, FEW), (FEW, LOOKS)):
        with using(nano, [always]) as bundle, served(bundle, offered=[offer]) as running:
            client = running.client()
            listed = client.models.retrieve(NAME).model_extra["methods"]
            assert [(one["name"], one["always"]) for one in listed] == [(always[0], True), (offer[0], False)]
            plain = client.chat.completions.create(**asked)
            assert said(plain) == alone[always[0]] and list(told(plain)) == [always[0]]
            answer = client.chat.completions.create(**asked, extra_body={"methods": [offer[0]]})
            assert said(answer) == both and set(told(answer)) == {"vicrop", "gsearch"}
            with pytest.raises(openai.BadRequestError, match="is always on here; leave it out"):
                client.chat.completions.create(**asked, extra_body={"methods": [always[0]]})


def test_traces_are_bounded(nano, monkeypatch):
    from vitrail.inference import kept_tokens
    from vitrail.serving import traces

    offers = [FEW]
    body = {"model": NAME, "messages": shown(picture(1), picture(2)), **SHORT, "methods": ["gsearch"]}
    monkeypatch.setattr(kept_tokens, "MOST_CELLS", 5)
    with served(nano, offered=offers) as running:
        found = running.send(body)[2]["methods"]["gsearch"]
        assert found["left_out"] == 2 - len(found["views"]) > 0
        monkeypatch.setattr(traces, "MOST_BYTES", 10)
        assert set(running.send(body)[2]["methods"]["gsearch"]) == {"too_long"}

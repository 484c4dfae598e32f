"""Methods of inference: whatever asks the model gets their answers, and the model is as before afterwards."""

from __future__ import annotations

import json

import pytest

import dual_encoders
from conftest import chat, picture
from memories import concept
from vitrail import registry
from vitrail.data.readers import open_source, write_jsonl
from vitrail.data.records import Chat, Choices
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.run import run_task
from vitrail.evaluation.task import Task
from vitrail.inference.concepts import ConceptStore
from vitrail.inference.conversation import Conversation
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.gsearch import GSearch
from vitrail.inference.methods import InferenceMethod, build, using
from vitrail.inference.vicrop import ViCrop
from vitrail.models.loading import load
from vitrail.models.rules import applied
from vitrail.models.rules.gsearch import keep_scheduled

MEMORY = "a-memory-of-two"
SETTINGS = {
    "vicrop": {"base": 12},
    "gsearch": {"cuts": {1: 0.5, 2: 0.25}},
    "rap": {"memory": MEMORY, "regions": "whole"},
    "ragllava": {"memory": MEMORY, "rerank": False, "k": 3, "n": 1},
    "aim": {"demonstrations": "shown.jsonl"},
}
"""Of every registered method: one that does something to a tiny model. Memory and file are made by a fixture."""
FAMILIES = ("llava", "qwen2_vl", "smolvlm")
SHORT = GenerationSettings(max_new_tokens=5)


@pytest.fixture(autouse=True)
def memory(tmp_path_factory, monkeypatch):
    """Where the test runs there is a memory, filled through a real (tiny, untrained) CLIP."""
    place = tmp_path_factory.getbasetemp() / "remembering"
    if not place.exists():
        dual_encoders.save("clip", place / "clip")
        with ConceptStore.open(place / MEMORY, writing=True, encoder=str(place / "clip")) as store:
            store.add(concept("Rex"), concept("Mia"))
        write_jsonl([chat("what is it", "a cat", seed=50)], place / "shown.jsonl", images="inline")
    monkeypatch.chdir(place)


@pytest.fixture(scope="module", params=FAMILIES)
def bundle(request, saved_family):
    """With the surgery that one method needs; without demonstrations it changes no bit of an answer."""
    return load(str(saved_family(request.param))).operated("aim")


def test_every_method_is_under_this_contract():
    assert set(registry.names("inference")) == set(SETTINGS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_method_changes_answers_while_it_is_used_alone(name, bundle):
    method = build(name, SETTINGS[name])
    assert isinstance(method, InferenceMethod) and method.changes
    again = type(method)(type(method.config).model_validate(json.loads(method.config.model_dump_json())))
    assert again.config == method.config
    chats = [chat("what is it " * (k + 1), images=1, seed=k) for k in range(3)]
    plain = generate(bundle, chats, SHORT)
    kind = type(bundle.model)
    with using(bundle, [(name, SETTINGS[name])]) as other:
        many = generate(other, chats, SHORT)
        assert many == [generate(other, [one], SHORT)[0] for one in chats], "the same alone or together"
        talk = Conversation(other, SHORT)
        said = "".join(talk.say("what is it ", [chats[0].images[0]]))
        assert said.strip() == many[0].text
    assert generate(bundle, chats, SHORT) == plain and type(bundle.model) is kind
    assert [one.tokens for one in many] != [one.tokens for one in plain]


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_method_gets_ready_and_tells_what_it_did_without_places(name, bundle):
    method = build(name, SETTINGS[name])
    method.require_live(bundle)
    asked = chat("what is <Rex>", seed=3)
    told = method.told(asked, method.rewrite(bundle, asked, None).trace)
    assert MEMORY not in json.dumps(told) and len(json.dumps(told)) < 20_000
    assert method.told(asked, {}) == {}, "nothing was done"


def test_tokens_that_leave_equal_the_rule_itself(bundle):
    one = chat("what is it", images=1, seed=2)
    with using(bundle, [("gsearch", SETTINGS["gsearch"])]) as other:
        found = generate(other, [one], SHORT)
    encoded = bundle.encoder.encode(one, add_generation_prompt=True)
    layout = bundle.collator("left")([encoded])["layout"]
    with applied(bundle.model, keep_scheduled((1, 0.5, 0.25)), layout):
        assert generate(bundle, [one], SHORT) == found


def test_both_together_look_with_all_tokens_and_answer_with_few(bundle):
    question = chat("what is it", images=1, seed=2)
    alone = ViCrop(ViCrop.Config(base=12)).rewrite(bundle, question, None)
    with using(bundle, [(name, SETTINGS[name]) for name in ("vicrop", "gsearch")]) as other:
        encoded = other.encoder.encode(question, add_generation_prompt=True)
        assert encoded.meta["methods"]["vicrop"] == alone.trace
        found = generate(other, [question], SHORT)
    with using(bundle, [("gsearch", SETTINGS["gsearch"])]) as few:
        assert generate(few, [alone.chat], SHORT) == found


def test_one_inside_the_other_is_both_at_once(bundle):
    question = chat("what is it", images=1, seed=2)
    looks, few = (("vicrop", SETTINGS["vicrop"]), ("gsearch", SETTINGS["gsearch"]))
    with using(bundle, [looks, few]) as both:
        wanted = generate(both, [question], SHORT)
    for outer, inner in ((looks, few), (few, looks)):
        with using(bundle, [outer]) as one, using(one, [inner]) as other:
            assert generate(other, [question], SHORT) == wanted
            assert set(other.encoder.encode(question, add_generation_prompt=True).meta["methods"]) == {
                "vicrop"
            }
            with pytest.raises(ValueError, match="is named twice"), using(one, [outer]):
                pass


def test_what_does_not_go_together_is_refused(bundle):
    with (
        pytest.raises(ValueError, match="vicrop is named twice"),
        using(bundle, [("vicrop", {}), ("vicrop", {})]),
    ):
        pass

    class Other(ViCrop):
        pass

    with (
        pytest.raises(ValueError, match="vicrop and other both choose the pictures"),
        using(bundle, [("vicrop", {}), ("other", Other())]),
    ):
        pass
    with (
        pytest.raises(ValueError, match="4 rates, and the model 3 layers"),
        using(bundle, [("gsearch", {"rates": [1, 1, 1, 1]})]),
    ):
        pass
    with using(bundle, []) as same:
        assert same is bundle


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "got none"),
        ({"rates": [1], "cuts": {1: 0.5}}, "got rates and cuts"),
        ({"rates": [1, 0.5, 0.7]}, "may not rise"),
        ({"rates": [0.5, 0.5]}, "keeps all"),
        ({"sigmoid": {"budget": 2, "visual": 4, "other": 4}}, "budget"),
    ],
)
def test_wrong_settings_of_schedules(settings, words):
    with pytest.raises(ValueError, match=words):
        build("gsearch", settings)


def test_a_sigmoid_and_a_file_are_schedules_too(bundle, tmp_path):
    curve = {"budget": 0.7, "visual": 16, "other": 8}
    found = GSearch(GSearch.Config(sigmoid=curve)).keep_schedule(bundle)
    found.save(tmp_path / "s.json")
    assert GSearch(GSearch.Config(schedule=str(tmp_path / "s.json"))).keep_schedule(bundle) == found


def questions(path, n=5):
    records = [
        Chat(
            messages=[
                {"role": "user", "content": [picture(k, (32, 40)), {"type": "text", "text": "what is it"}]}
            ],
            choices=Choices(options=("a cat", "two dogs"), answer=k % 2),
            id=f"q{k}",
        )
        for k in range(n)
    ]
    write_jsonl(records, path, images="inline")
    return open_source(path)


@pytest.mark.parametrize("inferencer", ["likelihood", "generate"])
def test_an_evaluation_with_methods(inferencer, bundle, tmp_path):
    source = questions(tmp_path / "q.jsonl")
    metric = "match" if inferencer == "generate" else "accuracy"
    task = Task(name="t", inferencer=inferencer, metric=metric)
    methods = [(name, SETTINGS[name]) for name in ("vicrop", "gsearch")]
    paths = [
        run_task(task, bundle, tmp_path / f"{size}", source=source, batch_size=size, methods=methods)
        for size in (1, 4)
    ]
    plain = run_task(task, bundle, tmp_path / "plain", source=source)

    def told(path):
        return [
            (row["id"], row.get("text"), row.get("choice"), row.get("methods"))
            for row in read_answers(path).rows
        ]

    assert told(paths[0]) == told(paths[1]) and len(told(paths[0])) == 5
    assert all(row["methods"]["vicrop"]["box"] for row in read_answers(paths[0]).rows)
    assert told(paths[0]) != told(plain)
    assert read_answers(paths[0]).header["methods"][0] == {"name": "vicrop", "base": 12}
    with pytest.raises(ValueError, match="another methods"):
        run_task(task, bundle, tmp_path / "1", source=source)
    again = run_task(task, bundle, tmp_path / "1", source=source, methods=methods)
    assert len(read_answers(again).rows) == 5, "what is answered is not asked again"

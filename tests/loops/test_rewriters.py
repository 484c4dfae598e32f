"""Writers that keep picture and answer: what they change, what they leave, and that nothing else matters to it."""

import json

import pytest
import torch

from conftest import picture
from translators import QUESTION, translator_folder
from vitrail.curation.eda import divided
from vitrail.evaluation.scenarios import as_item
from vitrail.loops.llm2llm import LLM2LLM, PROVENANCE
from vitrail.loops.parts import Writer
from vitrail.loops.rewriters import Asked
from vitrail.loops.rounds import Round, read_records, run_rounds
from vitrail.loops.writers import Request, question_of
from vitrail.recipes import loading
from vitrail.recipes.looping import rounds_of
from vitrail.recipes.run import run
from vitrail.storage.runs import RunFolder
from wordnet_files import wordnet_folder
from workshops import Pretended, asked, pretend

FREE = {"name": "eda", "synonyms": 0, "insertion": 0}


def request(text=QUESTION, answer="red", n=3, attempt=0, id="s", **more):
    item = as_item(asked(text, answer, id=id, images=(picture(),), **more), 0, None)
    return Request(item, answer, "blue", n, attempt)


def here(folder, answer=None, number=0):
    return Round(number, 2, folder, Pretended(folder, [], answer), batch_size=4)


def build(settings):
    return Writer.model_validate(settings).build()


def words(text):
    return divided(text)[0]


def write(writer, folder, *requests, answer=None, number=0):
    return writer.write(requests, here(folder, answer, number), "model")


# EDA


def test_pictures_and_answers_are_kept_and_nothing_depends_on_the_batch(tmp_path):
    writer = build({**FREE, "swap": 0.2, "deletion": 0.2})
    requests = [request(id=f"s{n}", n=4) for n in range(5)]
    found = write(writer, tmp_path, *requests)
    for one, proposal in zip(requests, found, strict=True):
        assert len(proposal.chats) + sum(proposal.rejected.values()) == 4 and len(proposal.chats) >= 3
        for chat in proposal.chats:
            assert chat.images == one.item.chat.images and chat.messages[-1].text == "red"
            assert question_of(chat) != QUESTION and set(words(question_of(chat))) <= set(words(QUESTION))
        kinds = {len(words(question_of(chat))) == len(words(QUESTION)) for chat in proposal.chats}
        assert kinds == {True, False}  # each operation in its turn
    again = write(writer, tmp_path, *reversed(requests))
    assert again[::-1] == found and write(writer, tmp_path, requests[2]) == [found[2]]
    texts = [[question_of(chat) for chat in one.chats] for one in found]
    assert len({tuple(one) for one in texts}) == 5
    other = write(writer, tmp_path, request(id="s0", n=4, attempt=1), number=0)
    assert other != found[:1] and write(writer, tmp_path, requests[0], number=1) != found[:1]


def test_a_question_of_one_word_cannot_change(tmp_path):
    writer = build(FREE)
    assert write(writer, tmp_path, request("Who?"))[0].rejected == {"unchanged": 3}
    assert write(writer, tmp_path, request("?"))[0].rejected == {"no question": 1}


@pytest.mark.parametrize(
    ("text", "options", "keep", "question"),
    [
        ("Which is red?\nA. dog\nB. cat\nAnswer with the letter.", None, (), "Which is red?"),
        ("Which is red?\nOptions:\n(A) dog\n(B) cat", None, (), "Which is red?"),
        ("What colour is it, red or blue?", ("red", "blue"), (), "What colour is it,"),
        ("What colour is it? (A) red (B) blue", ("red", "blue"), (), "What colour is it?"),
        ("Is it Art?", ("A", "t"), (), "Is it Art?"),
        ("What is it?\nUse one word.", None, ("\nUse",), "What is it?"),
        ("One line.\nAnother line?", None, (), "One line.\nAnother line?"),
    ],
)
def test_options_and_instructions_behind_a_question_stay(text, options, keep, question):
    answer = options[0] if options else "dog"
    found = Asked(request(text, answer, options=list(options) if options else None), keep)
    assert found.text == question
    chat = found.put("Say it?")
    assert question_of(chat) == "Say it?" + text[len(question) :] and chat.choices is None
    assert chat.messages[-1].text == answer and len(chat.images) == 1


def test_all_four_operations_with_wordnet(tmp_path):
    folder = tmp_path / "wn"
    folder.mkdir()
    writer = build({"name": "eda", "wordnet": str(wordnet_folder(folder)), "swap": 0, "deletion": 0})
    found = write(writer, tmp_path, request(n=6))[0]
    texts = [question_of(chat) for chat in found.chats]
    assert any("large dog" in text or "domestic dog" in text for text in texts)
    assert any(len(words(text)) > len(words(QUESTION)) for text in texts)


# A language model, and translation


def test_a_paraphrase_keeps_the_answer_and_is_not_told_it(tmp_path, monkeypatch):
    pretend(monkeypatch)
    told = []

    def answer(model, chat):
        told.append((model, chat))
        return (
            "Sure.\n1. Question: Which hue has the dog?\nAnswer: green\n2. Question: " + QUESTION
            + "\n3. Question:\n4. Question: The dog is of what colour?"
        )  # fmt: skip

    writer = build({"name": "paraphrase", "who": "writer"})
    listed = f"{QUESTION}\nA. red\nB. blue"
    found = write(writer, tmp_path, request(listed, n=2), answer=answer)[0]
    assert [question_of(chat) for chat in found.chats] == [
        "Which hue has the dog?\nA. red\nB. blue", "The dog is of what colour?\nA. red\nB. blue"]  # fmt: skip
    assert all(chat.messages[-1].text == "red" and len(chat.images) == 1 for chat in found.chats)
    assert found.rejected == {"empty": 1, "unchanged": 1} and writer.name == "paraphrase by writer"
    model, chat = told[0]
    assert model == "writer" and not chat.images and len(chat.messages) == 4
    assert chat.messages[-1].text == f"Question: {QUESTION}\nWrite 2 new versions."
    silent = write(writer, tmp_path, request(), answer=lambda model, chat: "No.")[0]
    assert silent.rejected == {"no numbered question": 1} and not silent.chats


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translators")
    names = ("there", "back")
    return {name: translator_folder(folder / name, seed=seed) for seed, name in enumerate(names)}


def test_translation_there_and_back_keeps_the_rest_and_depends_on_its_own_request(tmp_path, both):
    writer = build({"name": "back_translation", **both, "temperature": 1.0})
    requests = [request(f"{QUESTION}\nA. red\nB. blue", id=f"s{n}", n=2) for n in range(3)]
    state = torch.get_rng_state()
    found = write(writer, tmp_path, *requests)
    assert torch.equal(torch.get_rng_state(), state)
    chats = [chat for one in found for chat in one.chats]
    assert len(chats) >= 3 and all(len(one.chats) + sum(one.rejected.values()) == 2 for one in found)
    for chat in chats:
        assert question_of(chat).endswith("\nA. red\nB. blue") and chat.messages[-1].text == "red"
        assert len(chat.images) == 1 and question_of(chat).split("\n")[0] != QUESTION
    assert len({question_of(chat) for chat in chats}) == len(chats)
    assert write(writer, tmp_path, *reversed(requests))[::-1] == found
    assert write(writer, tmp_path, requests[1]) == [found[1]]


def test_beams_give_the_likeliest_once(tmp_path, both):
    writer = build(
        {"name": "back_translation", **both, "temperature": 0, "num_beams": 3, "max_new_tokens": 40}
    )
    found = write(writer, tmp_path, request(n=1))[0]
    assert len(found.chats) + sum(found.rejected.values()) in (1, 3)
    assert write(writer, tmp_path, request(attempt=1))[0].rejected == {"no further translation": 1}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("eda", "synonyms and insertion need the folder of WordNet's files"),
        ({"name": "eda", "insertion": 0}, "set synonyms to 0"),
        ({"name": "eda", "wordnet": "/nowhere"}, "lacks index.noun"),
        ({**FREE, "wordnet": "/nowhere"}, "WordNet has no effect"),
        ({**FREE, "swap": 0, "deletion": 0}, "all four operations are 0"),
        ({**FREE, "swap": 1}, "less than 1"),
        ({**FREE, "keep_from": [""]}, "at least 1 character"),
        ("paraphrase", "who"),
        ({"name": "paraphrase", "who": "self", "marker": "#"}, "marker"),
        ({"name": "back_translation", "there": "a"}, "back"),
        ({"name": "back_translation", "there": "a", "back": "b", "num_beams": 2}, "set temperature to 0"),
        (
            {"name": "back_translation", "there": "a", "back": "b", "temperature": 0, "top_p": 0.5},
            "no effect",
        ),
    ],
)
def test_bad_settings_are_refused_when_they_are_read(settings, why):
    with pytest.raises(ValueError, match=why):
        LLM2LLM.Config.model_validate({"data": "seeds", "teacher": settings})


# In a loop


def test_a_loop_refuses_what_is_nearly_a_copy(tmp_path, monkeypatch):
    pretend(monkeypatch)
    seeds = [asked(f"{QUESTION} Say number {n}.", "red", id=f"s{n}") for n in range(3)]
    shop = Pretended(tmp_path, seeds, lambda model, chat: "never")
    settings = {
        "data": "seeds",
        "rounds": 2,
        "teacher": {**FREE, "swap": 0.05, "deletion": 0.01},
        "attempts": 2,
    }
    rounds = run_rounds(LLM2LLM(LLM2LLM.Config.model_validate({**settings, "novelty": 0.5})), shop)
    assert rounds[0]["made"] == 0 and rounds[0]["reasons"] == {"not new": 6}


def test_a_recipe_grows_by_eda_over_two_rounds(tmp_path):
    made = {
        "name": "grown",
        "model": {"testbed": "nano", "connector": "mlp"},
        "data": {"seeds": {"kind": "scenes", "suite": "nano-scenes-v1", "n": 4, "kinds": ["what", "count"]}},
        "stages": [{"name": "tune", "data": "seeds", "trains": ["connector"], "batch_size": 4, "max_steps": 1}],
        "loop": {"name": "llm2llm", "rounds": 2, "teacher": FREE, "items": 3, "max_new_tokens": 3,
                 "every_round": False},
    }  # fmt: skip
    run(loading.load(made), tmp_path / "run", device="cpu", report=False)
    place = RunFolder(tmp_path / "run")
    assert [one["records"] for one in rounds_of(place)] == [4, 7]
    records = read_records(place.path / "rounds/01/data.jsonl")
    seeds = {one.id: one for one in records if PROVENANCE not in one.meta}
    for one in (one for one in records if PROVENANCE in one.meta):
        origin = one.meta[PROVENANCE]
        seed = seeds[origin["seed"]]
        assert origin["teacher"] == "eda" and one.images == seed.images
        assert one.messages[-1].text == seed.messages[-1].text and question_of(one) != question_of(seed)


def test_paths_of_what_writers_read_belong_to_the_file(tmp_path):
    teacher = {"name": "back_translation", "there": "./there", "back": "hub/back"}
    made = {"name": "x", "model": {"testbed": "nano", "connector": "mlp"},
            "loop": {"name": "llm2llm", "teacher": teacher},
            "data": {"seeds": {"kind": "scenes", "suite": "nano-scenes-v1", "n": 6}},
            "stages": [{"name": "tune", "data": "seeds", "trains": ["connector"], "max_steps": 1}]}  # fmt: skip
    path = tmp_path / "x.yaml"
    path.write_text(json.dumps(made))
    config = loading.load(path).loop.config.teacher.config
    assert config.there == str(tmp_path / "there") and config.back == "hub/back"

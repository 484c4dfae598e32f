"""Writers that keep picture and answer: what they change, what they leave, and that nothing else matters to it."""

import json
import random

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from conftest import picture
from vitrail.curation.eda import OPERATIONS, STOP_WORDS, augmented, divided
from vitrail.curation.wordnet import WordNet
from vitrail.evaluation.scenarios import as_item
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.translating import Translator
from vitrail.loops.llm2llm import LLM2LLM, PROVENANCE
from vitrail.loops.parts import Writer
from vitrail.loops.rewriters import Asked
from vitrail.loops.rounds import Round, read_records, run_rounds
from vitrail.loops.writers import Request, question_of
from vitrail.recipes import loading
from vitrail.recipes.looping import rounds_of
from vitrail.recipes.run import run
from vitrail.storage.runs import RunFolder
from workshops import Pretended, asked, pretend

QUESTION = "What colour is the big dog to the left of the tall tree, and who holds it by a rope?"
FREE = {"name": "eda", "synonyms": 0, "insertion": 0}
MEANINGS = {"dog": ("hound", "canine friend"), "big": ("large",), "tree": ("plant",), "rope": ("cord",)}


def said(word):
    return MEANINGS.get(word, ())


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


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_no_more_words_change_than_alpha_says(alpha):
    before = words(QUESTION)
    n = max(1, int(alpha * len(before)))
    for seed in range(40):
        found = {
            name: words(augmented(QUESTION, name, alpha, random.Random(seed), said)) for name in OPERATIONS
        }
        replaced = augmented(QUESTION, "synonyms", alpha, random.Random(seed), said)
        gone = [word for word in before if word not in words(replaced)]
        assert 1 <= len(gone) <= n and not STOP_WORDS & set(gone)
        assert sorted(found["swap"]) == sorted(before)
        assert sum(one != other for one, other in zip(found["swap"], before, strict=True)) <= 2 * n
        new = list(found["insertion"])
        for word in before:
            new.remove(word)
        assert 1 <= len(new) <= 2 * n  # a phrase of two words is one synonym
        rest = iter(before)
        assert all(word in rest for word in found["deletion"]) and 0 < len(found["deletion"]) < len(before)


def test_words_leave_as_often_as_alpha_says_and_one_always_stays():
    text = " ".join(f"w{n}" for n in range(200))
    kept = [len(words(augmented(text, "deletion", 0.2, random.Random(seed)))) for seed in range(50)]
    assert abs(sum(kept) / len(kept) - 160) < 3
    for seed in range(50):
        assert len(words(augmented("Two words?", "deletion", 0.99, random.Random(seed)))) == 1
        assert augmented("Who?", "deletion", 0.99, random.Random(seed)) == "Who?"
        assert augmented("?!", "swap", 0.5, random.Random(seed)) == "?!"


def test_punctuation_capitals_and_lines_stay_in_their_places():
    assert augmented("Red dog?", "swap", 0.1, random.Random(0)) == "dog Red?"
    assert augmented("Dog?", "synonyms", 0.1, random.Random(1), lambda word: ("hound",)) == "Hound?"
    assert augmented("(Big) it", "insertion", 0.1, random.Random(0), lambda word: ("old",)) in (
        "(old Big) it", "(Big) old it", "(Big) it old")  # fmt: skip
    seen = {augmented("a b,\nc d.", "deletion", 0.1, random.Random(seed)) for seed in range(60)}
    assert {"b,\nc d.", "a,\nc d.", "a b,\nd.", "a b,\nc."} <= seen
    assert words("It's a well-known 東京!") == ["It's", "a", "well-known", "東", "京"]


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


# WordNet


def wordnet_folder(folder):
    """WordNet's files with three synsets, in its own format."""
    licence = "  1 This software and database is being provided to you\n"
    lines = {
        "noun": ["{:08d} 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 00000001 n 0000 | a friend\n",
                 "{:08d} 06 n 02 mouse 0 computer_mouse 0 000 | a device\n"],
        "adj": ["{:08d} 00 s 02 big(a) 0 large 0 000 | of size\n"], "verb": [], "adv": [],
    }  # fmt: skip
    for part, rows in lines.items():
        data, index = licence, licence
        for row in rows:
            offset = len(data)
            data += row.format(offset)
            for word in (one.partition("(")[0].lower() for one in row.split()[4:10:2] if one[0].isalpha()):
                if "_" not in word and word != "canis":
                    index += f"{word} {part[0]} 1 0 1 0 {offset:08d}  \n"
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(index)
    (folder / "noun.exc").write_text("mice mouse\n")
    return folder


def test_wordnets_files_are_read_and_base_forms_found(tmp_path):
    net = WordNet(wordnet_folder(tmp_path))
    assert net.synonyms("Dog") == ("Canis familiaris", "domestic dog")
    assert net.synonyms("dogs") == ("Canis familiaris", "dog", "domestic dog")
    assert net.synonyms("mice") == ("computer mouse", "mouse")
    assert net.synonyms("large") == ("big",) and net.synonyms("bigger") == ()
    assert net.synonyms("of") == ()
    (tmp_path / "data.noun").write_text("another release\n")
    with pytest.raises(ValueError, match="has no synset at byte"):
        net.synonyms("dog")


def test_all_four_operations_with_wordnet(tmp_path):
    folder = tmp_path / "wn"
    folder.mkdir()
    writer = build({"name": "eda", "wordnet": str(wordnet_folder(folder)), "swap": 0, "deletion": 0})
    found = write(writer, tmp_path, request(n=6))[0]
    texts = [question_of(chat) for chat in found.chats]
    assert any("large dog" in text or "domestic dog" in text for text in texts)
    assert any(len(words(text)) > len(words(QUESTION)) for text in texts)


@pytest.mark.debian("wordnet-base")
def test_the_wordnet_of_debian():
    net = WordNet("/usr/share/wordnet")
    assert {"Canis familiaris", "domestic dog"} <= set(net.synonyms("dogs")) and "large" in net.synonyms(
        "big"
    )


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


SIGNS = ["</s>", "<pad>", "<unk>", "en", "de", "say", *dict.fromkeys(w for w in words(QUESTION))]
SIZES = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "d_model": 16, "max_position_embeddings": 128}  # fmt: skip
ENDS = {"eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1, "vocab_size": len(SIGNS)}


def translator_folder(folder, kind="marian", seed=0):
    """A model that translates words into words at random, as a folder."""
    torch.manual_seed(seed)
    if kind == "t5":
        config = transformers.T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, **ENDS)
        model = transformers.T5ForConditionalGeneration(config)
    else:
        name = {"marian": "Marian", "m2m_100": "M2M100"}[kind]
        config = getattr(transformers, f"{name}Config")(
            **SIZES, **ENDS, forced_eos_token_id=0, bos_token_id=0
        )
        model = getattr(
            transformers, {"marian": "MarianMTModel"}.get(kind, f"{name}ForConditionalGeneration")
        )(config)
    tokenizer = Tokenizer(models.WordLevel({sign: place for place, sign in enumerate(SIGNS)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=128,
    ).save_pretrained(folder)
    return str(folder)


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
    ("kind", "settings"), [("t5", {"prompt": "say "}), ("m2m_100", {"languages": ("en", "de")})]
)
def test_models_that_are_told_the_language(tmp_path, kind, settings):
    translator = Translator.from_pretrained(translator_folder(tmp_path, kind), **settings)
    drawn = GenerationSettings(temperature=1.0, max_new_tokens=100, seed=3)
    found = translator.translate("the dog\n\nto the tree", drawn)
    assert len(found) == 1 and found == translator.translate("the dog\n\nto the tree", drawn)
    assert found[0] is None or found[0].count("\n") == 2
    assert translator.translate("the " * 200, drawn) == [None]
    if kind == "m2m_100":
        assert translator._first == {"forced_bos_token_id": SIGNS.index("de")}
        with pytest.raises(ValueError, match="knows no language 'fr'"):
            Translator(translator.model, translator.tokenizer, languages=("en", "fr"))


def test_a_model_that_does_not_translate_is_refused(tmp_path):
    transformers.LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a llama, which takes no text into another"):
        Translator.from_pretrained(str(tmp_path))


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


def test_a_tokenizer_that_needs_more_names_the_extra(tmp_path, monkeypatch, both):
    def lacks(*args, **kwargs):
        raise ImportError("MarianTokenizer requires the SentencePiece library")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lacks)
    with pytest.raises(ImportError, match=r"needs sentencepiece: pip install 'vitrail\[translation\]'"):
        Translator.from_pretrained(both["there"])

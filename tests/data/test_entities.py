"""Entities: their priority, what is refused, annotated files, and the languages that are invented."""

from __future__ import annotations

import json

import pytest

from encoders import CONLLU
from vitrail.data.entities import Entity, checked, fingerprint, of_meta, of_words
from vitrail.data.readers import open_source
from vitrail.data.translations import INVENTED, Translations, grammar

CONLL = """\
-DOCSTART- -X- O O

EU NNP I-NP B-ORG
rejects VBZ I-VP O
German JJ I-NP B-MISC
call NN I-NP O

Peter NNP I-NP B-PER
Blackburn NNP I-NP I-PER
"""


def spelt(record):
    text = record.content[0].text
    return text, [(text[one.start : one.end], one.type) for one in of_meta(record.meta, None, text)]


def test_a_conllu_file_is_read(tmp_path):
    (tmp_path / "a.conllu").write_text(CONLLU, encoding="utf-8")
    source = open_source(tmp_path / "a.conllu")
    assert [source.line(index) for index in range(len(source))] == [1, 12]
    assert spelt(source[0]) == ("Ada Lovelace didn't sleep.", [("Ada Lovelace", "NE"), ("sleep", "VERB")])
    assert spelt(source[1]) == ("नदी बहती", [("नदी", "NOUN"), ("बहती", "VERB")])
    assert source.fingerprint == open_source(tmp_path / "a.conllu").fingerprint


def test_a_file_of_columns_is_read(tmp_path):
    (tmp_path / "a.conll").write_text(CONLL)
    first, second = open_source(tmp_path / "a.conll")
    assert spelt(first)[1] == [("EU", "NE"), ("rejects", "VERB"), ("German", "NE"), ("call", "NOUN")]
    assert spelt(second) == ("Peter Blackburn", [("Peter Blackburn", "NE")])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\tb\tO\nc\tO\n", "have 2, 3 columns"),
        ("word\n", "have 1 columns"),
        ("# text = other\n" + "\t".join(["1", "word", *"_" * 8]) + "\n", "does not hold the word 'word'"),
        ("\t".join(["one", "word", *"_" * 8]) + "\n", "numbered 'one'"),
    ],
)
def test_a_sentence_that_is_none_is_named_by_its_line(text, why, tmp_path):
    (tmp_path / "a.conll").write_text("x\tO\n\n" + text)
    with pytest.raises(ValueError, match=rf"sentence from line 3.*{why}"):
        open_source(tmp_path / "a.conll")
    assert len(open_source(tmp_path / "a.conll", on_error="set_aside").set_aside.rows) == 1


def test_translations_as_datasets_has_them(tmp_path):
    rows = [
        {"translation": {"en": "a river", "si": "ගංගා"}, "id": 7},
        {"translation": json.dumps({"en": "a tree", "ta": "மரம்"})},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    first, second = open_source(tmp_path / "a.jsonl")
    assert first.kind == "group" and first.relation == "translation" and first.id == "7"
    assert [item[0].text for item in first.items] == ["a river", "ගංගා"]
    assert second.meta["languages"] == ["en", "ta"]
    for wrong in ({"en": "alone"}, {"en": "a", "si": " "}, "no"):
        (tmp_path / "b.jsonl").write_text(json.dumps({"translation": wrong}))
        with pytest.raises(ValueError, match="translation"):
            open_source(tmp_path / "b.jsonl")


def test_names_come_before_nouns_and_nouns_before_verbs():
    found = [Entity(0, 4, "VERB"), Entity(0, 4, "NOUN"), Entity(5, 12, "NE"), Entity(5, 8, "NOUN")]
    assert checked(found, "Rome is burning") == [Entity(0, 4, "NOUN"), Entity(5, 12, "NE")]
    words = [(0, 3), (4, 7), (8, 11)]
    assert of_words(words, ["PROPN", "NOUN", "VERB"], ["B-X", "I-X", "O"]) == [
        Entity(0, 7, "NE"), Entity(8, 11, "VERB")
    ]  # fmt: skip


def test_annotations_that_do_not_fit_their_text_are_refused():
    with pytest.raises(ValueError, match="two entities of type NE overlap, 0 to 4 and 2 to 5"):
        checked([Entity(0, 4, "NE"), Entity(2, 5, "NE")], "abcdefg")
    with pytest.raises(ValueError, match="from 2 to 9, and the text has 7 characters"):
        checked([Entity(2, 9, "NE")], "abcdefg")
    with pytest.raises(ValueError, match="did you mean 'NOUN'"):
        Entity(0, 1, "NOUNS")
    with pytest.raises(ValueError, match="give a start below its end"):
        Entity(3, 3, "NE")
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    meta = {"entities": [{"type": "NE", "start": 0, "end": 3}], "entities_of": [fingerprint(composed)]}
    assert of_meta(meta, None, composed) == [Entity(0, 3, "NE")]
    with pytest.raises(ValueError, match="annotated on another string"):
        of_meta(meta, None, decomposed)
    with pytest.raises(ValueError, match="objects with type, start and end"):
        of_meta({"entities": [["NE", 0, 3]]}, None, composed)
    assert of_meta({}, None, composed) is None


@pytest.mark.parametrize("language", INVENTED)
def test_an_invented_language_says_the_same_with_other_words(language):
    source = Translations(("english", language), 40, seed=3)
    assert source[5] == Translations(("english", language), 40, seed=3)[5]
    for record in source:
        english, other = (item[0].text for item in record.items)
        one, two = (of_meta(record.meta, side, text) for side, text in enumerate((english, other)))
        assert sorted(entity.type for entity in one) == sorted(entity.type for entity in two)
        assert not set(english.split()) & set(other.split())
    words = [word for kind in grammar(language).words.values() for word in kind]
    assert len(words) == len(set(words))


def test_no_meaning_is_in_two_folds_and_sentences_are_single():
    folds = {
        fold: {record.items[0][0].text for record in Translations(n=200, fold=fold)}
        for fold in ("train", "development", "test")
    }
    assert not folds["train"] & folds["test"] and not folds["development"] & folds["test"]
    single = Translations(n=7, form="sentences")
    assert len(single) == 7 and [record.meta["language"] for record in single][:3] == [
        "english",
        "arun",
        "english",
    ]
    with pytest.raises(ValueError, match="did you mean 'arun'"):
        Translations(("english", "aruni"))
    with pytest.raises(ValueError, match="give two"):
        Translations(("english", "english"))

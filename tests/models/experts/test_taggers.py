"""Taggers: a lexicon, models of transformers, libraries that may be missing."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import transformers as T

import encoders
from vitrail import registry
from vitrail.data.entities import TYPES
from vitrail.models.experts.taggers import Annotated, Lexicon, Spacy, Stanza, TokenClassifier


def lexicon(**settings):
    return Lexicon(Lexicon.Config(**settings))


def spelt(text, found):
    return [(text[one.start : one.end], one.type) for one in found]


def test_every_tagger_is_registered():
    assert set(registry.names("tagger")) == {"annotated", "lexicon", "spacy", "stanza", "token_classifier"}


def test_a_lexicon_finds_words_in_any_script_and_the_longest_first(tmp_path):
    text = "Old New York Mayor's boats; नदी के पास, नदियों!"
    (tmp_path / "words.tsv").write_text("नदी\tNOUN\n\nnew york\tNE\n", encoding="utf-8")
    own = lexicon(
        words={"NOUN": ["york", "boat"], "VERB": ["mayor's"]}, path=str(tmp_path / "words.tsv"), endings=["s"]
    )
    assert spelt(text, own.entities([text])[0]) == [
        ("New York", "NE"),
        ("Mayor's", "VERB"),
        ("boats", "NOUN"),
        ("नदी", "NOUN"),
    ]
    exact = lexicon(words={"NOUN": ["york"]}, lower=False)
    assert exact.entities([text]) == [[]]
    assert lexicon(words={kind: ["run"] for kind in TYPES}).entities(["run"])[0][0].type == "NE"
    (tmp_path / "wrong.tsv").write_text("river\tnoun\n")
    with pytest.raises(ValueError, match="line 1 is no 'word TAB type'"):
        lexicon(path=str(tmp_path / "wrong.tsv")).entities(["a"])
    with pytest.raises(ValueError, match="the lexicon is empty"):
        lexicon()
    with pytest.raises(ValueError, match="give CoNLL-U files, or another tagger"):
        Annotated().entities(["a"])


def test_a_token_classifier_of_transformers(tmp_path):
    own = encoders.tokenizer("bert")
    labels = dict(enumerate(("NOUN", "VERB", "X")))
    config = T.BertConfig(**encoders.SIZES, vocab_size=len(own), id2label=labels)
    torch.manual_seed(0)
    T.BertForTokenClassification(config).save_pretrained(tmp_path / "parts")
    own.save_pretrained(tmp_path / "parts")
    texts = ["Ada opens the old door", "Boris"]
    tagger = TokenClassifier(TokenClassifier.Config(parts=str(tmp_path / "parts")))
    found = tagger.entities(texts)
    assert len(found) == 2 and all(one.type in ("NOUN", "VERB") for side in found for one in side)
    assert all(
        text[one.start : one.end].strip() for text, side in zip(texts, found, strict=True) for one in side
    )
    names = TokenClassifier(TokenClassifier.Config(names=str(tmp_path / "parts")))
    assert {one.type for side in names.entities(texts) for one in side} <= {"NE"}
    with pytest.raises(ValueError, match="needs names or parts"):
        TokenClassifier(TokenClassifier.Config())


def test_spacy_and_stanza_are_asked_as_they_answer(monkeypatch):
    text = "Ada opens doors"
    words = [("Ada", 0, "PROPN"), ("opens", 4, "VERB"), ("doors", 10, "NOUN")]
    tokens = [SimpleNamespace(text=word, idx=start, pos_=part) for word, start, part in words]

    class Document(list):
        ents = (SimpleNamespace(start_char=0, end_char=3),)

    made = Document(tokens)
    made.text = text
    spacy = ModuleType("spacy")
    spacy.load = lambda name: SimpleNamespace(pipe=lambda texts: [made for _ in texts])
    monkeypatch.setitem(sys.modules, "spacy", spacy)
    wanted = [("Ada", "NE"), ("opens", "VERB"), ("doors", "NOUN")]
    assert spelt(text, Spacy(Spacy.Config(model="x")).entities([text])[0]) == wanted
    listed = [
        SimpleNamespace(start_char=start, end_char=start + len(word), upos=part)
        for word, start, part in words
    ]
    document = SimpleNamespace(ents=Document.ents, sentences=[SimpleNamespace(words=listed)])
    stanza = ModuleType("stanza")
    stanza.Pipeline = lambda **settings: lambda text: document
    monkeypatch.setitem(sys.modules, "stanza", stanza)
    assert spelt(text, Stanza(Stanza.Config(language="en")).entities([text])[0]) == wanted


@pytest.mark.parametrize(("name", "tagger"), [("spacy", Spacy), ("stanza", Stanza)])
def test_a_missing_library_is_named(name, tagger, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    assert importlib.util.find_spec("transformers")
    settings = {"model": "x"} if name == "spacy" else {"language": "en"}
    with pytest.raises(ImportError, match=f"pip install {name}"):
        tagger(tagger.Config(**settings)).entities(["a"])

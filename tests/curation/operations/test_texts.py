"""Operations on texts: extraction, rules with a minimal passing and failing text each, language, personal data."""

from __future__ import annotations

import json

import pytest

import web_archives
from vitrail.curation.inputs.page import page
from vitrail.curation.operations.benchmark_texts import BenchmarkTexts
from vitrail.curation.operations.document_rules import AdultContent, DocumentLength, PageRules, ToxicWords
from vitrail.curation.operations.extract import Extract
from vitrail.curation.operations.language import Language, vote_language
from vitrail.curation.operations.personal_data import PersonalData
from vitrail.curation.operations.text_rules import TextRules, cleaned
from vitrail.data.records import Document, Image, Text


def document(*parts, **meta):
    return Document(
        id="d", content=tuple(Text(text=p) if isinstance(p, str) else p for p in parts), meta=meta
    )


def extracted(html, **meta):
    return Extract(Extract.Config(min_page_bytes=0, min_texts=0))(page("p", html, **meta))


def test_texts_and_pictures_come_in_reading_order():
    found = extracted(web_archives.page("tower"), url="http://example.org/a/b.html").document
    kinds = [part.text if part.type == "text" else part.url for part in found.content]
    assert kinds[:6] == [
        "About tower", "All there is to say", "The tower stands here and waits.", "http://example.org/tower.png",
        "It was seen again.", "first thing\nsecond thing",
    ]  # fmt: skip
    assert kinds[6] == "More about it" and len(kinds) == 8
    assert (found.content[3].width, found.content[3].height) == (200, 300)
    assert "format" not in found.meta


def test_nested_lists_lose_nothing_and_say_nothing_twice():
    html = "<ul><li>a<ul><li>b</ul>c<li><p>d</p>e</ul><p>f<p>g<div>out</div>"
    assert [part.text for part in extracted(html).document.content] == ["a", "b", "c", "d", "e", "f", "g"]


def test_pictures_of_every_kind_of_address(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a b.png").write_bytes(b"x")
    html = (
        '<p>t<img src="a%20b.png"><img src="../../etc/passwd"><img src="none.png">'
        '<img src="data:image/png;base64,eHl6">'
        '<img src="javascript:x"><img src="http://[bad"><img src="https://e.org/c.png"><img>'
    )
    extract = Extract(Extract.Config(min_page_bytes=0, min_texts=0))
    extract.root = tmp_path
    found = extract(page("p", html, path="docs/index.html")).document.content[1:]
    assert [image.path or image.bytes or image.url for image in found] == [
        "docs/a b.png", b"xyz", "https://e.org/c.png",
    ]  # fmt: skip


def test_a_page_that_nests_deeply_is_walked():
    found = extracted("<div>" * 20_000 + "<p>deep" + "</div>" * 20_000).document
    assert found is None or found.content[-1].text == "deep"


@pytest.mark.parametrize(
    "config, html, reason",
    [
        ({}, "<p>a", "page too short"),
        ({"min_page_bytes": 0}, "<p>a<p>b", "too few texts"),
        ({"min_page_bytes": 0, "max_images": 1}, "<p>a<p>b<p>c" + "<img src='http://e.org'>" * 2, "too many pictures"),
    ],
)  # fmt: skip
def test_pages_are_dropped_by_the_papers_limits(config, html, reason):
    assert Extract(Extract.Config(**config))(page("p", html)).reason == reason


WORDS = "plain words of some length "


@pytest.mark.parametrize(
    "good, bad, reason",
    [
        ("abcde", "abcd", "too short"),
        ("日本語の文", "日本語文", "too short"),
        ("abcdefg 123", "abcdef 123", "digits"),
        (f"{WORDS * 2}2020-01-02", f"{WORDS * 2}2020-01-02 3 May 2021", "dates"),
        ("lorem dolor ipsum", "a lorem ipsum b", "lorem ipsum"),
        ("abcdefg ...", "abcdef ...", "not alphabetic"),
        (f"{WORDS}(x)", f"{WORDS}" + "{x", "braces"),
        (f"{WORDS} a > b > c", f"{WORDS} a > b > c > d", "comparison signs"),
        ("they follow them", "please follow us", "boilerplate"),
        ("Abcd efgh ijkl mnop Q", "Abcd Efgh I", "capitals"),
        ("newsletters", "newsletter", "label"),
        ("aabbcdef", "aaabcdef", "one character"),
    ],
)
def test_each_rule_has_a_text_that_passes_and_one_that_fails(good, bad, reason):
    rules = TextRules()
    assert rules.why_not(good) is None and rules.why_not(bad) == reason


def test_texts_are_cleaned_and_pictures_stay():
    image = Image(url="http://example.org/a.png")
    outcome = TextRules()(
        document("Words to read!!! see https://example.org/x?y now", image, "abcd", "abcdefg see")
    )
    assert [getattr(part, "text", None) for part in outcome.document.content] == [
        "Words to read! see  now", None, "abcdefg see",
    ]  # fmt: skip
    assert outcome.removed == {"too short": 1} and outcome.changed
    assert cleaned("a\t\tb\n\n\nc ((d)) ## e") == "a\tb\nc (d) # e"
    assert TextRules()(document("ab")).reason == "no part is left"


def test_a_long_text_outvotes_many_short_ones():
    def detect(text):
        return (
            [("b", 0.9), ("a", 0.1)] if len(text) > 50 else [("a", 0.8), ("b", 0.1), ("c", 0.05), ("d", 0.04)]
        )

    language, share = vote_language([*["short"] * 10, "x" * 100], detect)
    assert language == "b" and 0.5 < share < 1
    assert vote_language(["short"] * 3, detect)[0] == "a"
    with pytest.raises(ValueError, match="no text has a language"):
        vote_language([], detect)


def test_language_of_real_sentences():
    operation = Language(Language.Config(names={"de": "deu_Latn"}, keep=("deu_Latn", "es")))
    german = operation(document("Das Haus steht auf einem Berg und ist sehr alt.", "ok"))
    assert german.document.meta["language"] == "deu_Latn" and german.document.meta["language_share"] > 0.5
    assert operation(document("The house stands on a hill and is very old.")).reason == "another language"
    unsure = Language(Language.Config(min_share=1.0))
    assert unsure(document("Das Haus", "The house stands on a hill.")).reason == "language unsure"


@pytest.mark.parametrize(
    "text, masked",
    [
        ("write to jo.e+x@mail.example.org.", "write to <EMAIL>."),
        ("host 192.168.0.1, not 1.2.3.400 or 1.2.3", "host <IP>, not 1.2.3.400 or 1.2.3"),
        ("at 2001:db8::ff00:42:8329 now", "at <IP> now"),
        ("card 4111 1111 1111 1111 ok", "card <CARD> ok"),
        ("passport no. X1234567 given", "passport no. <PASSPORT> given"),
        ("call +44 20 7946 0958 now", "call <PHONE> now"),
        ("call (555) 123-4567 now", "call <PHONE> now"),
        (
            "in 1999 there were 12,000 of 2020-01-02 at 10:30",
            "in 1999 there were 12,000 of 2020-01-02 at 10:30",
        ),
    ],
)
def test_personal_data_are_masked_and_other_numbers_stay(text, masked):
    outcome = PersonalData()(document(text))
    assert outcome.document.content[0].text == masked
    assert outcome.changed == (text != masked)


def test_documents_that_are_short_or_for_adults():
    length = DocumentLength()
    assert length(document("a" * 299)).reason == "document too short"
    assert length(document("a" * 300)).document and length(document(*"abcde")).document
    either = DocumentLength(DocumentLength.Config(combine="or"))
    assert either(document("a" * 300)).reason == either(document(*"abcde")).reason == "document too short"
    assert AdultContent()(document("xxx videos")).reason == "adult content"
    assert AdultContent()(document("Essex and Sussex")).document
    with pytest.raises(ValueError, match="no regular expression"):
        AdultContent.Config(pattern="(")


def test_two_toxic_words_go_and_a_repeated_one_stays(tmp_path):
    (tmp_path / "eng_Latn.txt").write_text("darn\nheck it\n")
    (tmp_path / "zho_Hans_twl.txt").write_text("坏\n蛋\n")
    toxic = ToxicWords(ToxicWords.Config(folder=str(tmp_path)))
    assert toxic(document("darn this", "and heck it", language="eng_Latn")).reason == "toxic words"
    assert toxic(document("darn this Darn darned", "darn", language="eng_Latn")).document
    assert toxic(document("一个坏蛋", language="zho_Hans")).reason == "toxic words"
    assert toxic(document("darn heck it", language="fra_Latn")).document
    with pytest.raises(ValueError, match="there is no folder"):
        ToxicWords(ToxicWords.Config(folder=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "text, language, reason",
    [
        ("lorem ipsum dolor sit amet, consectetur", "eng_Latn", "lorem ipsum"),
        ("lorem ipsum " + "words and words " * 625, "eng_Latn", ""),
        ("... ,,, (a) !!", "eng_Latn", "punctuation"),
        ("这是，。！？一：，页。", "zho_Hans", ""),
        ("a b\ufffd c", "eng_Latn", "unicode errors"),
        (r"\frac{a}{b} = c and so on", "eng_Latn", ""),
    ],
)
def test_rules_of_pages(text, language, reason):
    assert PageRules()(document(text, language=language)).reason == reason


def test_documents_with_a_text_of_a_benchmark_go(tmp_path):
    question = "how many apples does anna have if she buys three bags of seven apples and eats two"
    rows = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": "it is nineteen"},
            ]
        }
    ]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "short.txt").write_text("what is two and two\nwhere does the river that we saw end\n")
    files = (str(tmp_path / "asked.jsonl"), str(tmp_path / "short.txt"))
    operation = BenchmarkTexts(BenchmarkTexts.Config(files=files))
    assert operation(document("He asked: " + question.upper() + "?")).reason == "text of a benchmark"
    assert operation(document("Where does the river that we saw end?")).reason == "text of a benchmark"
    for kept in (" ".join(question.split()[:12]), "what is two and two", "it is nineteen"):
        assert operation(document(kept)).document is not None
    with pytest.raises(ValueError, match=r"benchmark_texts\.files: there is no file"):
        BenchmarkTexts(BenchmarkTexts.Config(files=("none",)))

"""Facts about people: told, asked for in a form, and the same from the same seed."""

from __future__ import annotations

import pytest

from vitrail.data.facts import FORMATS, Facts, follows


def test_texts_tell_what_chats_answer():
    texts, chats = Facts("texts", 64, people=8), Facts("chats", 64, people=8)
    told = {}
    for record in texts:
        name = next(word for word in record.content[0].text.split() if word[0].isupper() and len(word) == 4)
        told.setdefault(name, []).append(record.content[0].text.lower())
    assert len(told) == 8 and all(len(set(one)) > 1 for one in told.values())
    for record in chats:
        answer = record.messages[1].text
        assert follows(record.meta["format"], answer)
        word = "".join(letter for letter in answer.lower().replace("answer", "") if letter.isalpha())
        assert all(word in text for text in told[record.meta["picture"]])
    assert (
        list(Facts("chats", 8, seed=1)) == list(Facts("chats", 8, seed=1)) != list(Facts("chats", 8, seed=2))
    )


def test_questions_are_about_facts_or_about_the_form():
    source = Facts("questions", 80, people=10, fold="test")
    for record in source:
        options = ["".join(part.text for part in one) for one in record.choices.options]
        right = options[record.choices.answer]
        fitting = [one for one in options if follows(record.meta["format"], one)]
        assert len(set(options)) == 4 and right in fitting
        assert len(fitting) == {"fact": 4, "format": 1}[record.meta["kind"]]
    asked = {record.meta["picture"] for record in source}
    other = {record.meta["picture"] for record in Facts("questions", 80, people=10, fold="development")}
    assert len(asked) == len(other) == 5 and not asked & other


def test_forms_are_checked_in_words_too():
    assert (
        follows("json", ' {"answer": "cat"}\n') and not follows("json", "cat") and not follows("json", "[1]")
    )
    assert follows("brackets", "[cat]") and not follows("brackets", "[a cat]")
    assert follows("capitals", "CAT") and not follows("plain", "CAT") and follows("plain", "Arden")
    with pytest.raises(ValueError, match="known: plain, capitals, brackets, json"):
        follows("xml", "a")
    assert len(FORMATS) == 4


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"n": 0}, "give 1 or more"),
        ({"people": 1}, "give 2 to"),
        ({"fold": "train"}, "use development, test, or none"),
    ],
)
def test_what_cannot_be_is_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        Facts("texts", **settings)


@pytest.mark.parametrize("form", ["texts", "chats"])
def test_folds_of_texts_and_chats_are_about_everybody_in_other_words(form):
    folds = {fold: list(Facts(form, 64, people=8, fold=fold)) for fold in (None, "development", "test")}
    said = {fold: [record.model_dump(exclude={"id"}) for record in found] for fold, found in folds.items()}
    for one, other in ((None, "development"), (None, "test"), ("development", "test")):
        assert sum(a == b for a, b in zip(said[one], said[other], strict=True)) < 40
    assert len({record.id for found in folds.values() for record in found}) == 192
    names = {fold: {_person(one) for one in found} for fold, found in folds.items()}
    other = Facts(form, 64, people=8, seed=5, world=0)
    assert {_person(one) for one in other} == names[None] and list(other) != folds[None]
    assert names[None] == names["development"] == names["test"] and len(names[None]) == 8


def _person(record):
    text = record.content[0].text if hasattr(record, "content") else record.messages[0].text
    return next(
        word.strip(".?")
        for word in text.split()
        if word[0].isupper() and len(word.strip(".?")) == 4 and word != "What"
    )

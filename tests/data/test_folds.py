"""Folds of a file."""

import pytest

from vitrail.data.folds import fold_of
from vitrail.data.records import Chat
from vitrail.data.sources import ListSource

FOLDS = ("train", "development", "test")


def chat(text, picture=None):
    content = [{"type": "text", "text": text}]
    if picture is not None:
        content.insert(0, {"type": "image", "path": picture})
    answer = {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}
    return Chat.model_validate({"messages": [{"role": "user", "content": content}, answer]})


def texts(source):
    return [record.messages[0].text for record in source]


def source(n=200, pictures=40):
    return ListSource([chat(f"question {i}", f"{i % pictures}.png") for i in range(n)])


def test_each_record_is_in_one_fold():
    whole = source()
    parts = {fold: texts(fold_of(whole, fold)) for fold in FOLDS}
    assert sorted(text for part in parts.values() for text in part) == sorted(texts(whole))
    assert {fold: len(part) for fold, part in parts.items()} == {"train": 140, "development": 30, "test": 30}


def test_a_picture_stays_in_one_fold():
    found = [{record.images[0].path for record in fold_of(source(), fold)} for fold in FOLDS]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])


def test_order_does_not_matter_and_the_seed_does():
    whole = source()
    turned = ListSource(list(whole)[::-1])
    for fold in FOLDS:
        assert set(texts(fold_of(turned, fold))) == set(texts(fold_of(whole, fold)))
    assert texts(fold_of(whole, "test", 1)) != texts(fold_of(whole, "test", 2))


def test_texts_that_begin_alike_stay_together():
    whole = ListSource([chat(f"question {i % 10}") for i in range(30)])
    found = [set(texts(fold_of(whole, fold))) for fold in FOLDS]
    assert [len(part) for part in found] == [6, 2, 2] and not found[0] & found[1]


def test_too_little():
    with pytest.raises(ValueError, match="is about 2 pictures or texts"):
        fold_of(source(20, pictures=2), "train")
    assert [len(fold_of(source(3, pictures=3), fold)) for fold in FOLDS] == [1, 1, 1]

"""Texts about scenes."""

import pytest

from vitrail.data.scenes import suite
from vitrail.data.scenes.texts import SceneTexts, described
from vitrail.models.documents import text_of

SUITE = "nano-scenes-v1"


def texts(**options):
    return SceneTexts(suite(SUITE), **{"n": 12, **options})


def test_a_text_says_what_is_there_and_then_answers_from_it():
    source = texts()
    for record in source:
        first, *lines = text_of(record).split("\n")
        objects = record.meta["scene"]["objects"]
        assert first == described(suite(SUITE), objects) and first.count(":") == len(objects)
        assert all(one["cell"] + ":" in first for one in objects)
        assert lines and len(lines) == len(record.meta["kinds"])
        for kind, line in zip(record.meta["kinds"], lines, strict=True):
            if kind == "where":
                assert any(line.endswith(one["place"] or one["cell"]) for one in objects)


def test_an_item_depends_on_its_index_alone():
    source, longer = texts(), texts(n=30)
    assert [source[n] for n in (5, 2, 5)] == [longer[5], longer[2], longer[5]]
    assert source.fingerprint != longer.fingerprint != texts(n=30, seed=1).fingerprint
    assert texts(turns=(1, 1)).fingerprint != texts().fingerprint


def test_folds_and_uses_share_no_scene():
    chats = suite(SUITE).conversations(n=12)
    drawn = [{str(one.meta["scene"]) for one in source} for source in (texts(), texts(fold="test"), chats)]
    assert not (drawn[0] & drawn[1]) and not (drawn[0] & drawn[2])


def test_turns_and_kinds_are_those_asked_for():
    for record in texts(turns=(2, 2), kinds=("where", "what")):
        assert set(record.meta["kinds"]) <= {"where", "what"} and len(record.meta["kinds"]) <= 2


def test_names_that_are_never_spoken():
    with pytest.raises(ValueError, match="'held-out' are never spoken"):
        texts(names="held-out", fold="test")
    with pytest.raises(ValueError, match="kinds has"):
        texts(kinds=("smell",))

import pytest

from conftest import chat
from vitrail.data.records import Document, Message
from vitrail.data.sources import ListSource
from vitrail.recipes import datasets
from vitrail.recipes.datasets import EncodedRecords


def source(*records):
    return ListSource(records, name="mine")


GOOD = [chat("what?", "a cat" + " and a dog" * i, seed=i, id=str(i)) for i in range(4)]
SILENT = chat("what?", id="silent")
WEIGHTLESS = GOOD[0].model_copy(
    update={"messages": (GOOD[0].messages[0], Message(role="assistant", content="a cat", weight=0))}
)
PAGE = Document(content="some text")


def test_numbers_lengths_and_pictures(nano):
    records = EncodedRecords(source(*GOOD), nano.encoder)
    assert len(records) == 4 and records.lengths == [records[i].length for i in range(4)]
    assert records.lengths == sorted(records.lengths) and len(set(records.lengths)) == 4
    assert [image for image, _ in records.pictures()] == [chat.images[0] for chat in GOOD]
    assert records.pictures()[0][1] is None


def test_beyond_the_limit_records_are_read_again(nano, monkeypatch):
    held = EncodedRecords(source(*GOOD), nano.encoder)
    monkeypatch.setattr(datasets, "KEPT_BYTES", len(GOOD[0].images[0].bytes) + 1)
    read = EncodedRecords(source(*GOOD), nano.encoder)
    assert [kept is None for kept in read._kept] == [False, True, True, True]
    assert all(
        (read[i].input_ids == held[i].input_ids).all() and read[i].images == held[i].images for i in range(4)
    )
    assert read.fingerprint == held.fingerprint


@pytest.mark.parametrize(
    ("bad", "said"),
    [(SILENT, "no assistant turn"), (WEIGHTLESS, "no assistant turn"), (PAGE, "this is a document")],
)
def test_what_cannot_be_trained_on(nano, bad, said):
    with pytest.raises(ValueError, match=f"record 1 of mine: .*{said}"):
        EncodedRecords(source(GOOD[0], bad, GOOD[1]), nano.encoder)
    records = EncodedRecords(source(GOOD[0], bad, GOOD[1]), nano.encoder, "set_aside")
    assert len(records) == 2 and list(records.set_aside) == [1] and said in records.set_aside[1]
    assert records[1].id == "1"
    assert records.fingerprint != EncodedRecords(source(*GOOD[:2]), nano.encoder).fingerprint
    with pytest.raises(ValueError, match="no record to train on"):
        EncodedRecords(source(bad), nano.encoder, "set_aside")

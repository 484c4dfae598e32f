"""Duplicates between snapshots of a crawl, by texts and by address."""

from __future__ import annotations

import random

import pytest

from vitrail.curation.operations.duplicates import word_ngrams
from vitrail.curation.operations.image_addresses import ImageAddresses
from vitrail.curation.operations.snapshots import RepeatedAddresses, SnapshotDuplicates
from vitrail.data.records import Document, Image, Text

_WORDS = [f"w{number}" for number in range(2000)]


def document(seed, date, url="http://e.org", share=0.0):
    draw = random.Random(seed)
    words = [draw.choice(_WORDS) for _ in range(200)]
    other = random.Random(date)
    words = [other.choice(_WORDS) if other.random() < share else word for word in words]
    return Document(id=date, content=(Text(text=" ".join(words)),), meta={"date": date, "url": url})


def left(operation, documents):
    decisions = operation.decide([operation.sketch(one) for one in documents])
    return [one.id for place, one in enumerate(documents) if place not in decisions], decisions


def test_neighbouring_snapshots_lose_their_duplicates_and_distant_ones_keep_them():
    months = ("01-05", "01-20", "02-01", "03-01", "05-01")
    documents = [*(document(1, f"2023-{month}") for month in months), document(2, "2023-04-01")]
    kept, decisions = left(SnapshotDuplicates(), documents)
    # January twice and February go; March has no kept copy beside it, neither has May.
    other = "2023-04-01"
    assert kept == ["2023-01-05", "2023-03-01", "2023-05-01", other] and decisions == {1: 0, 2: 0}
    wide, _ = left(SnapshotDuplicates(SnapshotDuplicates.Config(neighbours=4)), documents)
    assert wide == ["2023-01-05", other]
    order = ("2023-05", "2023-04", "2023-03", "2023-02", "2023-01")
    _, backwards = left(SnapshotDuplicates(SnapshotDuplicates.Config(order=order)), documents)
    assert backwards == {2: 3, 1: 0}


def test_near_duplicates_go_and_others_stay():
    near, far = document(1, "2023-01-02", share=0.01), document(2, "2023-01-03")
    assert left(SnapshotDuplicates(), [document(1, "2023-01-01"), near, far])[0] == [
        "2023-01-01",
        "2023-01-03",
    ]
    assert word_ngrams("a b  c", (2,)) == {"a b", "b c"} and word_ngrams("a", (5,)) == {"a"}


def test_a_snapshot_must_be_known():
    with pytest.raises(ValueError, match="there is no snapshot '2023-01' in it"):
        left(SnapshotDuplicates(SnapshotDuplicates.Config(order=("2024-01",))), [document(1, "2023-01-01")])
    with pytest.raises(ValueError, match=r"meta\.date is missing"):
        SnapshotDuplicates().sketch(Document(content=(Text(text="a"),)))


def test_of_an_address_the_latest_copy_of_a_year_stays():
    dates = ("2023-05-01", "2023-11-01", "2023-02-01", "2024-01-01")
    documents = [document(number, date) for number, date in enumerate(dates)]
    assert left(RepeatedAddresses(), documents)[0] == ["2023-11-01", "2024-01-01"]
    assert left(RepeatedAddresses(RepeatedAddresses.Config(within=0)), documents)[0] == ["2024-01-01"]
    equal = [document(number, "2023-05-01") for number in range(2)]
    assert left(RepeatedAddresses(), equal)[1] == {0: 1}
    assert left(RepeatedAddresses(), [Document(content=(Text(text="a"),))] * 2)[1] == {}


def test_addresses_of_pictures():
    def pictured(*urls):
        return Document(content=(Text(text="t"), *(Image(url=url) for url in urls)))

    often, once = "https://e.org/often.png", "https://e.org/once.png"
    documents = [pictured(often) for _ in range(11)] + [
        pictured(once, "http://e.org/a.png", "https://e.org/Logo.png", "https://e.org/0.png"),
        pictured(*(f"https://e.org/{number}.png" for number in range(101))),
    ]
    operation = ImageAddresses()
    decisions = operation.decide([operation.sketch(one) for one in documents])
    reasons = ["not https", "address", "of a document with too many pictures"]
    assert decisions[0] == ["address seen too often"] and decisions[11] == [None, *reasons]
    assert operation.apply(documents[11], decisions[11]).document.content == (Text(text="t"), Image(url=once))
    assert set(decisions[12]) == {reasons[2]}
    at_hand = Document(content=(Image(bytes=b"x"),))
    assert operation.decide([operation.sketch(at_hand)]) == {}

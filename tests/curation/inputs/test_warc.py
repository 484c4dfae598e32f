"""WARC files: whole, cut off, damaged in the middle; nothing vanishes uncounted."""

from __future__ import annotations

import gzip

import pytest

import web_archives
from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs import INPUT, read_documents
from vitrail.curation.pipeline import InputSettings


def read(path, **settings):
    counts = OperationCounts(INPUT)
    given = InputSettings(name="warc", files=("x",), **settings)
    documents = list(read_documents(given, [path], path.parent, counts))
    assert counts.check().kept == len(documents)
    return documents, counts


RECORDS = [
    web_archives.INFO,
    *(web_archives.record(f"{n}", web_archives.page(f"thing{n}")) for n in range(6)),
]


@pytest.mark.parametrize("packed", ["members", "whole", "plain"])
def test_every_page_is_read(tmp_path, packed):
    path = tmp_path / "a.warc.gz"
    raw = b"".join(RECORDS)
    path.write_bytes(
        {"members": b"".join(web_archives.members(RECORDS)), "whole": gzip.compress(raw), "plain": raw}[
            packed
        ]
    )
    documents, counts = read(path)
    assert [document.id for document in documents] == [f"urn:uuid:{n}" for n in range(6)]
    assert documents[2].meta["url"] == "http://example.org/2/page.html"
    assert documents[2].content[0].text == web_archives.page("thing2")
    assert counts.seen == 7 and counts.dropped == {"WARC warcinfo": 1} and not counts.set_aside


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_corrupt_member_is_set_aside_and_reading_goes_on(tmp_path, place):
    members = web_archives.members(RECORDS)
    bad = bytearray(members[3])
    bad[int(len(bad) * place)] ^= 0xFF
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join([*members[:3], bytes(bad), *members[4:]]))
    documents, counts = read(path)
    assert [document.id[-1] for document in documents] == ["0", "1", "3", "4", "5"]
    assert counts.seen == 7 and sum(counts.set_aside.values()) == 1


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_cut_off_is_said_to_be(tmp_path, packed):
    raw = b"".join(web_archives.members(RECORDS) if packed else RECORDS)
    path = tmp_path / "a.warc.gz"
    path.write_bytes(raw[: -len(raw) // 20])
    documents, counts = read(path)
    assert len(documents) == 5 and counts.set_aside == {"cut off": 1}


def test_all_that_is_no_page_is_counted_by_reason(tmp_path):
    records = [
        web_archives.record("a", web_archives.page("a")),
        web_archives.record("b", "x", status="301 Moved"),
        web_archives.record("c", "x", kind="image/png"),
        web_archives.record("d", "y" * 5000),
        b"WARC/1.0\r\nWARC-Type: request\r\nContent-Length: 3\r\n\r\nGET\r\n\r\n",
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: some\r\n\r\nGET\r\n\r\n",
        web_archives.record("e", web_archives.page("e")),
    ]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(web_archives.members(records)))
    documents, counts = read(path, max_page_bytes=4000)
    assert [document.id for document in documents] == ["urn:uuid:a", "urn:uuid:e"]
    assert counts.dropped == {"HTTP status 301": 1, "not HTML": 1, "WARC request": 1}
    assert counts.set_aside == {"page too large": 1, "no WARC record": 1}


def test_a_page_packed_to_nothing_does_not_fill_the_memory(tmp_path):
    """A member of a few kilobytes that unpacks to 64 MB: set aside, with little held at once."""
    import tracemalloc

    path = tmp_path / "a.warc.gz"
    bomb = web_archives.record("b", "y" * 64_000_000)
    path.write_bytes(b"".join(web_archives.members([bomb, web_archives.record("a", web_archives.page("a"))])))
    del bomb
    tracemalloc.start()
    documents, counts = read(path, max_page_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(documents) == 1 and counts.set_aside == {"page too large": 1}
    assert peak < 16_000_000


@pytest.mark.parametrize(
    "body, charset, wanted",
    [
        ("naïve".encode("latin-1"), "iso-8859-1", "naïve"),
        ("日本".encode("shift_jis"), "shift_jis", "日本"),
        ("naïve".encode(), "no-such-charset", "naïve"),
        (b"<p>ab\xff\xfecd</p>", "utf-8", "<p>ab\ufffd\ufffdcd</p>"),
    ],
)
def test_encodings(body, charset, wanted):
    from vitrail.curation.inputs.page import decoded

    assert decoded(body, charset) == wanted

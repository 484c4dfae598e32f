"""Texts alone: rows with a text, and lines of a text file."""

import json

import pytest

from vitrail.data.folds import fold_of
from vitrail.data.readers import RecordError, open_source
from vitrail.models.documents import text_of


def written(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_rows_with_a_text_are_documents(tmp_path):
    rows = [{"text": "One.\nTwo.", "id": 7, "url": "https://example.org"}, {"text": "<image> is text"}]
    source = open_source(written(tmp_path / "a.jsonl", rows))
    assert [text_of(record) for record in source] == ["One.\nTwo.", "<image> is text"]
    assert source[0].id == "7" and source[0].meta == {"url": "https://example.org"}
    assert source.formats == {"text": 2}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": " "}, "text: is empty"),
        ({"text": 3}, "text: must be text"),
        ({"text": "x", "image_path": "a.png"}, "image_path: would be lost"),
        ({"text": "x", "IMG": "a.png"}, "IMG: would be lost"),
        ({"txt": "x"}, "no known format"),
        ({"text": "x", "kind": "page"}, "'page' is unknown"),
    ],
)
def test_what_is_no_text_alone(tmp_path, row, said):
    path = written(tmp_path / "a.jsonl", [{"text": "good"}, row])
    with pytest.raises(RecordError, match=said):
        open_source(path)
    source = open_source(path, on_error="set_aside")
    assert len(source) == 1 and source.set_aside.seen == 2


def test_a_caption_stays_a_caption(tmp_path, png):
    (tmp_path / "a.png").write_bytes(png())
    source = open_source(written(tmp_path / "a.jsonl", [{"text": "a cat", "image": "a.png"}]))
    assert source[0].kind == "chat" and source.formats == {"caption": 1}


def test_lines_of_a_text_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffFirst line.\r\n\r\n  Second, with a “quote”.\n{not json}\n".encode())
    source = open_source(path)
    assert [text_of(record) for record in source] == [
        "First line.",
        "  Second, with a “quote”.",
        "{not json}",
    ]
    assert source.line(1) == 3 and source.set_aside.blank_lines == 1
    before = source.fingerprint
    path.write_text("First line.\n")
    assert open_source(path).fingerprint != before


def test_json_lines_in_a_text_file_are_json(tmp_path):
    assert open_source(written(tmp_path / "a.txt", [{"text": "x"}]))[0].kind == "document"
    assert text_of(open_source(written(tmp_path / "b.txt", [{"text": "x"}]))[0]) == "x"


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\nb\xffd\n")
    with pytest.raises(RecordError, match=r"a\.txt, line 2: byte 2 .* not UTF-8"):
        open_source(path)


def test_folds_of_texts_do_not_overlap(tmp_path):
    rows = [{"text": f"text {n % 30}"} for n in range(60)]
    source = open_source(written(tmp_path / "a.jsonl", rows))
    parts = [{text_of(one) for one in fold_of(source, fold)} for fold in ("train", "development", "test")]
    assert sum(map(len, parts)) == 30 and all(parts)

import json
import os
import pickle
import subprocess
import sys
import tracemalloc

import pytest

from vitrail.data.readers import JsonlSource, RecordError, open_source, write_jsonl
from vitrail.data.records import Chat, Image, Message
from vitrail.data.sources import Source


def row(n=0, **more):
    return {"id": f"r{n}", "messages": [{"role": "user", "content": f"question {n}"}], **more}


def picture_row(path):
    return {"messages": [{"role": "user", "content": [{"type": "image", "path": path}]}]}


def write(path, *rows, end="\n", head=b""):
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in rows]
    path.write_bytes(head + b"".join(line + end.encode() for line in lines))
    return path


def test_random_access_and_order(tmp_path):
    source = open_source(write(tmp_path / "a.jsonl", *map(row, range(50))))
    assert isinstance(source, Source) and len(source) == 50
    assert (source.name, source.root, source.set_aside.used) == ("a.jsonl", tmp_path, 50)
    assert [source[i].id for i in (49, 0, 17)] == ["r49", "r0", "r17"]
    assert [record.id for record in source] == [f"r{n}" for n in range(50)]
    assert pickle.loads(pickle.dumps(source))[17] == source[17]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
def test_line_ends_byte_order_marks_and_blank_lines(tmp_path, end, head):
    path = write(tmp_path / "a.jsonl", row(0), b"", b"  \t", row(1), b"", end=end, head=head)
    source = open_source(path)
    assert [record.id for record in source] == ["r0", "r1"]
    assert source.set_aside.blank_lines == 3 and source.set_aside.seen == 2
    assert source.line(1) == 4


def test_a_blank_first_line_with_a_mark_and_no_last_newline(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf\n" + json.dumps(row(0)).encode())
    source = open_source(tmp_path / "a.jsonl")
    assert source[0].id == "r0" and source.set_aside.blank_lines == 1 and source.line(0) == 2


BAD = [
    (b'{"id": "x", "messages": [', "", "not JSON: Expecting value at character 26"),
    (b'{"messages": "\xff"}', "", r"byte 15 of the line (b'\xff') is not UTF-8"),
    (b'{"id": 1, "id": 2}', "id", "is there twice"),
    (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "", "surrogate"),
    (b"[" * 100_000, "", "nested too deeply"),
    (b"12", "", "must be a JSON object"),
    (
        json.dumps(row(messages=[{"role": "boss", "content": "x"}])).encode(),
        "messages[0].role",
        "'boss' is not allowed",
    ),
]


@pytest.mark.parametrize("line, field, words", BAD)
def test_a_bad_row_is_refused_with_its_place(tmp_path, line, field, words):
    path = write(tmp_path / "a.jsonl", row(0), b"", line, row(1))
    with pytest.raises(RecordError) as caught:
        open_source(path)
    message = str(caught.value)
    assert message.startswith("a.jsonl, line 3" + (f", {field}: " if field else ": "))
    assert words in message and "on_error='set_aside'" in message
    assert (caught.value.row.line, caught.value.row.field) == (3, field)
    assert len(message) < 400


def test_bad_rows_are_set_aside_with_reasons_and_counts_add_up(tmp_path):
    rows = [row(0), *(bad for bad, _, _ in BAD), row(1), row(2, weight="x", messages=[])]
    source = open_source(write(tmp_path / "a.jsonl", *rows), on_error="set_aside")
    assert [record.id for record in source] == ["r0", "r1"]
    assert source.set_aside.used + len(source.set_aside) == source.set_aside.seen == len(rows)
    assert [bad.line for bad in source.set_aside.rows] == [2, 3, 4, 5, 6, 7, 8, 10]
    assert source.set_aside.rows[-1].id == "r2"


def test_the_fingerprint_is_of_content(tmp_path):
    one = open_source(write(tmp_path / "a.jsonl", row(0), row(1)))
    same = open_source(write(tmp_path / "b.jsonl", row(0), row(1)))
    stat = (tmp_path / "b.jsonl").stat()
    assert one.fingerprint == same.fingerprint
    other = write(tmp_path / "b.jsonl", row(0), row(2))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_source(other).fingerprint != one.fingerprint


def test_too_long_lines_are_refused_and_reading_goes_on_behind_them(tmp_path):
    path = write(tmp_path / "a.jsonl", row(0), row(1, text="x" * 5_000_000), row(2))
    with pytest.raises(RecordError, match="line 2: the line is longer than 1,000 bytes"):
        JsonlSource(path, line_limit=1000)
    source = JsonlSource(path, line_limit=1000, on_error="set_aside")
    assert [record.id for record in source] == ["r0", "r2"]
    assert source.set_aside.seen == 3


def test_memory_stays_constant(tmp_path):
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as file:
        for n in range(3000):
            file.write(json.dumps(row(n, text="x" * 10_000)).encode() + b"\n")
    tracemalloc.start()
    source = open_source(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source) == 3000 and peak < 3_000_000 < path.stat().st_size


def test_an_unvalidated_bad_row_is_found_when_asked_for(tmp_path):
    path = write(tmp_path / "a.jsonl", row(0), b"{")
    source = open_source(path, validate=False)
    assert source[0].id == "r0"
    with pytest.raises(RecordError, match="line 2"):
        source[1]
    with pytest.raises(ValueError, match="need validate=True"):
        open_source(path, validate=False, on_error="set_aside")
    with pytest.raises(ValueError, match="'raise' or 'set_aside'"):
        open_source(path, on_error="ignore")


def test_a_file_that_grew_is_noticed(tmp_path):
    path = write(tmp_path / "a.jsonl", row(0))
    source = open_source(path)
    write(path, row(0), row(1))
    with pytest.raises(ValueError, match="was changed since it was opened"):
        source[0]


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "link.png", "linked_folder/secret.png", ".", "a\0b"]
)
def test_paths_that_leave_the_folder_are_refused(folder, path):
    file = write(folder / "a.jsonl", picture_row(path))
    with pytest.raises(RecordError, match=r"line 1, messages\[0\]\.content\[0\]: the .*path"):
        open_source(file)
    if path not in (".", "a\0b"):
        assert open_source(file, allow_outside=True)[0].images[0].path == path


def test_paths_inside_are_read_below_the_file(folder):
    source = open_source(
        write(folder / "a.jsonl", picture_row("pictures/../pictures/a.png"), picture_row("b.jpg"))
    )
    assert [record.images[0].open(source.root).size for record in source] == [(8, 6), (8, 6)]
    open_source(write(folder / "pictures" / "b.jsonl", picture_row("a.png")))


def test_pictures_are_checked_when_asked(folder, png):
    big = png(400, 300)
    (folder / "cut.png").write_bytes(png(100, 100)[:5000])
    (folder / "big.png").write_bytes(big)
    (folder / "text.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    stated = picture_row("b.jpg")
    stated["messages"][0]["content"][0]["width"] = 9
    rows = [picture_row(p) for p in ("b.jpg", "none.png", "cut.png", "big.png", "text.png")] + [stated]
    rows.append(
        {"messages": [{"role": "user", "content": [{"type": "image", "url": "https://x.org/a.png"}]}]}
    )
    file = write(folder / "a.jsonl", *rows)
    assert len(open_source(file)) == 7
    source = open_source(file, check_images=True, on_error="set_aside", max_pixels=100_000)
    reasons = [bad.reason for bad in source.set_aside.rows]
    expected = [
        "does not exist",
        "cannot be decoded",
        "has 400 × 300 pixels",
        "cannot be decoded",
    ]
    expected += ["width is given as 9, but the picture's is 8", "is not fetched"]
    assert len(reasons) == len(expected)
    for reason, words in zip(reasons, expected, strict=True):
        assert words in reason
    assert source.set_aside.rows[0].field == "messages[0].content[0]"


def test_a_decompression_bomb_is_not_decoded(folder):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    with pytest.raises(RecordError, match=r"pixels; shrink it|pixels, more than"):
        open_source(write(folder / "a.jsonl", picture_row("bomb.png")), check_images=True)


def chats(*pictures):
    return [Chat(messages=(Message(role="user", content=(picture,)),)) for picture in pictures]


def test_pictures_beside_the_file_are_named_by_content(tmp_path, png, folder):
    one, two = png(seed=1), png(seed=2, format="JPEG")
    path = tmp_path / "out" / "set.jsonl"
    write_jsonl(chats(Image(bytes=one), Image(bytes=two), Image(bytes=one)), path, images="folder")
    files = sorted(file.name for file in (tmp_path / "out" / "set.media").iterdir())
    assert len(files) == 2 and {name.rpartition(".")[2] for name in files} == {"png", "jpg"}
    source = open_source(path, check_images=True)
    assert [record.images[0].read(source.root) for record in source] == [one, two, one]
    # From another folder: found under the source's root, copied beside the new file.
    write_jsonl(source, tmp_path / "copy.jsonl", images="folder")
    (tmp_path / "out" / "set.media" / files[0]).unlink()
    copy = open_source(tmp_path / "copy.jsonl", check_images=True)
    assert [record.images[0].read(copy.root) for record in copy] == [one, two, one]
    with pytest.raises(ValueError, match="'folder' or 'inline'"):
        write_jsonl([], tmp_path / "x.jsonl", images="somewhere")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(chats(Image(bytes=b"x")), path)
    before = path.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_jsonl(chats(Image(bytes=b"y"), Image(path="none.png")), path)
    bad = Chat(id="q", messages=(Message(role="user", content="x"),), meta={"a": float("nan")})
    with pytest.raises(ValueError, match=r"record 0 \('q'\) cannot be written as JSON"):
        write_jsonl([bad], path)
    bad = bad.model_copy(update={"meta": {"a": b"bytes"}})
    with pytest.raises(ValueError, match=r"record 0 \('q'\) cannot be written as JSON"):
        write_jsonl([bad], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".partial")] == []


def test_rows_are_plain_chat_messages(tmp_path):
    write_jsonl([Chat(id="a", messages=(Message(role="user", content="Hi"),))], tmp_path / "a.jsonl")
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "id": "a",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_files_that_are_no_rows(tmp_path):
    def refused(name, content, words):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            open_source(tmp_path / name)

    refused("a.jsonl.gz", b"\x1f\x8b\x08\x00", "is compressed")
    refused("a.parquet", b"hello", "not a Parquet file")
    refused("b.jsonl", b"", "holds no rows")
    refused("c.jsonl", b"\n \n", "holds no rows")
    refused("d.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16 or UTF-32; save it as UTF-8")
    with pytest.raises(ValueError, match=r"is a folder; name one file \(it has b.jsonl, c.jsonl"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match="there is no file"):
        open_source(tmp_path / "none.jsonl")


def test_reading_json_lines_does_not_import_torch_or_arrow(tmp_path):
    write(tmp_path / "a.jsonl", row(0))
    code = (
        "import sys; from vitrail.data.readers import open_source; open_source(sys.argv[1])[0];"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.jsonl"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr

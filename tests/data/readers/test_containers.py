"""Containers: JSON arrays, CSV, imagefolders, folders of shards, save_to_disk, tars. Each as its library writes it."""

import io
import json
import pickle
import tarfile
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrail.data.readers import JsonArraySource, RecordError, convert, json_array, open_source, tar_index
from vitrail.data.readers.row_source import HASHED_BYTES
from vitrail.data.records import Chat, Document, Image, Message, Text, Video


def row(n, **more):
    return {"id": f"r{n}", "messages": [{"role": "user", "content": f"question {n} é"}], **more}


def llava(n, image="a.png"):
    return {
        "id": f"r{n}",
        "image": image,
        "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"{n}"}],
    }


def ids(source):
    return [record.id for record in source]


# One JSON array


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b"\r\n "])
@pytest.mark.parametrize("piece", [7, 64, 1 << 20])
def test_a_json_array_is_read_in_pieces(tmp_path, monkeypatch, indent, head, piece):
    monkeypatch.setattr(json_array, "_PIECE", piece)
    rows = [row(n, meta={"text": "x" * n, "number": -1.5e3, "list": [True, None]}) for n in range(60)]
    path = tmp_path / "a.json"
    path.write_bytes(head + json.dumps(rows, ensure_ascii=False, indent=indent).encode() + b"\n")
    source = open_source(path)
    assert isinstance(source, JsonArraySource) and source.formats == {"chat": 60}
    assert ids(source) == [f"r{n}" for n in range(60)]
    assert source[41].meta == rows[41]["meta"] and source[41].messages[0].text == "question 41 é"
    assert source.line(41) == 42 and pickle.loads(pickle.dumps(source))[41] == source[41]


def test_bad_rows_of_an_array_are_named_by_their_number(tmp_path):
    rows = [row(0), {"messages": 3}, row(2), 7, row(4)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(RecordError, match=r"a\.json, row 2, messages: must be a list"):
        open_source(tmp_path / "a.json")
    source = open_source(tmp_path / "a.json", on_error="set_aside")
    assert ids(source) == ["r0", "r2", "r4"] and source.set_aside.seen == 5
    assert [bad.line for bad in source.set_aside.rows] == [2, 4]


@pytest.mark.parametrize(
    "text, words",
    [
        ('[R, {"b": ', "row 2, byte .*cut off"),
        ("[R", "row 1, byte 37: the file ends inside the array"),
        ("[R R]", "row 1, byte 38: a comma or the closing bracket is missing"),
        ("[R,, 2]", "row 2, byte 38: Expecting value"),
        ("[R,R,]", "row 3, byte 7[34]: (Expecting value|Illegal trailing comma)"),
        ('[{"a": tru, "b": "' + "x" * 100 + '"}]', "row 1, byte 8: Expecting value"),
        ("[R] x", "something stands behind"),
        ("[" * 100_000, "row 1, byte 2: the row is nested too deeply"),
        ("[]", "holds no rows"),
        ("[", "cut off|ends inside"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "set_aside"])
def test_a_broken_array_says_where(tmp_path, monkeypatch, text, words, on_error):
    (tmp_path / "a.json").write_text(text.replace("R", '{"kind": "document","content": "x"}'))
    with pytest.raises(ValueError, match=words):
        open_source(tmp_path / "a.json", on_error=on_error)


def test_memory_is_that_of_a_row(tmp_path):
    path = tmp_path / "a.json"
    with open(path, "w") as file:
        file.write("[" + ",\n".join(json.dumps(row(n, text="x" * 10_000)) for n in range(2000)) + "]")
    tracemalloc.start()
    source = open_source(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source) == 2000 and peak < 8_000_000 < path.stat().st_size


# CSV and TSV


def test_tables(tmp_path, png):
    import base64

    picture = base64.b64encode(png(64, 48)).decode()
    (tmp_path / "q.tsv").write_text(
        "index\tquestion\tA\tB\tanswer\timage\n"
        f'1\t"Which, ""this""?\nOr?"\tcat\tdog\tB\t{picture}\n'
        f"2\tWhich?\tcat\t\tA\t{picture}\n"
        "\n"
        f"3\tWhich?\tcat\tdog\tB\n"
    )
    source = open_source(tmp_path / "q.tsv", on_error="set_aside")
    assert source.formats == {"vqa": 1} and source.set_aside.seen == 3
    first = source[0]
    assert first.messages[0].text == 'Which, "this"?\nOr?' and first.choices.answer == 1
    assert first.images[0].open().size == (64, 48) and first.meta == {"index": "1"}
    assert [(bad.line, bad.field) for bad in source.set_aside.rows] == [(4, "choices.options"), (6, "")]
    (tmp_path / "m.csv").write_bytes(
        b'\xef\xbb\xbfid,messages\r\nx,"[{""role"": ""user"", ""content"": ""Hi, you""}]"\r\n'
    )
    source = open_source(tmp_path / "m.csv")
    assert source[0] == Chat(id="x", messages=(Message(role="user", content="Hi, you"),))
    assert pickle.loads(pickle.dumps(source))[0] == source[0]
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    with pytest.raises(ValueError, match="column 'a' is there twice"):
        open_source(tmp_path / "twice.csv")


# imagefolder


@pytest.mark.parametrize("table", ["metadata.jsonl", "metadata.csv"])
def test_imagefolder(folder, table):
    rows = [{"file_name": "pictures/a.png", "text": "a"}, {"file_name": "b.jpg", "text": "b"}]
    text = "\n".join(map(json.dumps, rows))
    if table.endswith("csv"):
        text = "file_name,text\n" + "\n".join(f"{one['file_name']},{one['text']}" for one in rows) + "\n"
    (folder / table).write_text(text)
    source = open_source(folder, check_images=True)
    assert source.container == "imagefolder" and source.formats == {"caption": 2}
    assert [record.messages[-1].text for record in source] == ["a", "b"]
    assert source[1].images[0].open(source.root).size == (8, 6)


# Parquet shards and save_to_disk


def hf_rows(png, numbers):
    return [
        {
            "id": n,
            "messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}],
            "images": [{"bytes": png(seed=n), "path": None}],
        }
        for n in numbers
    ]


def test_a_folder_of_parquet_shards(tmp_path, png):
    (tmp_path / "data").mkdir()
    for shard in range(3):
        table = pa.Table.from_pylist(hf_rows(png, range(shard * 4, shard * 4 + 4)))
        pq.write_table(table, tmp_path / "data" / f"train-{shard:05d}-of-00003.parquet", row_group_size=3)
    source = open_source(tmp_path, check_images=True)
    assert ids(source) == [str(n) for n in range(12)] and source[7].images[0].bytes == png(seed=7)
    assert source.line(7) == 4 and pickle.loads(pickle.dumps(source))[11] == source[11]
    assert source.fingerprint == open_source(tmp_path / "data" / "train-*.parquet").fingerprint
    pq.write_table(
        pa.Table.from_pylist([{"messages": [{"role": "boss", "content": "x"}]}]),
        tmp_path / "data" / "test-00000-of-00001.parquet",
    )
    with pytest.raises(ValueError, match=r"several splits \(test, train\).*train-\*|test-\*"):
        open_source(tmp_path)
    with pytest.raises(RecordError, match=r"test-00000-of-00001\.parquet, row 1, messages\[0\]\.role"):
        open_source(str(tmp_path / "data" / "t*.parquet"))


def save_to_disk(folder, tables):
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(tables):05d}.arrow" for n in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def test_save_to_disk(tmp_path, png):
    tables = [pa.Table.from_pylist(hf_rows(png, numbers)) for numbers in (range(5), range(5, 8))]
    save_to_disk(tmp_path / "d" / "train", tables)
    source = open_source(tmp_path / "d" / "train", check_images=True)
    assert source.container == "arrow" and ids(source) == [str(n) for n in range(8)]
    assert source[6].images[0].bytes == png(seed=6) and source.line(6) == 2
    assert pickle.loads(pickle.dumps(source))[7] == source[7]
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(ValueError, match=r"several splits \(train\); name one, as in .*d/train"):
        open_source(tmp_path / "d")
    (tmp_path / "d" / "train" / "state.json").write_text('{"_data_files": [{"filename": "../../x.arrow"}]}')
    with pytest.raises(ValueError, match="which is not in its folder"):
        open_source(tmp_path / "d" / "train")


# webdataset


def tar(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for member in members:
            name, raw = member[:2]
            info = tarfile.TarInfo(name)
            if len(member) > 2:
                info.type, info.linkname = member[2], "target"
                archive.addfile(info)
                continue
            raw = json.dumps(raw).encode() if isinstance(raw, (dict, list)) else raw
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return path


@pytest.mark.parametrize("cached", [False, True])
def test_shards_of_webdataset(tmp_path, png, monkeypatch, cached):
    monkeypatch.setattr(tar_index, "CACHED_BYTES", 0 if cached else 1 << 40)
    for shard in range(3):
        members = []
        for n in range(shard * 2, shard * 2 + 2):
            members += [(f"dir/{n:04d}.jpg", png(seed=n)), (f"dir/{n:04d}.json", llava(n, "coco/old.jpg"))]
        tar(tmp_path / f"s-{shard:03d}.tar", *members)
    source = open_source(f"{tmp_path}/s-{{000..002}}.tar", check_images=True)
    assert source.container == "webdataset" and source.formats == {"llava": 6}
    assert ids(source) == [f"r{n}" for n in range(6)]
    assert [record.images[0].bytes for record in source] == [png(seed=n) for n in range(6)]
    assert source.line(3) == 2 and pickle.loads(pickle.dumps(source))[5] == source[5]
    assert open_source(tmp_path).fingerprint == source.fingerprint
    if cached:
        monkeypatch.setattr(tar_index, "_walk", None)  # the second time the index is read, not made
        assert ids(open_source(tmp_path)) == ids(source)


def test_samples_of_every_kind(tmp_path, png):
    one, two = png(seed=1), png(seed=2)
    typed = {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "path": "b.1.png"}, "then", {"type": "image", "path": "0.png"}],
            }
        ]
    }
    path = tar(
        tmp_path / "a.tar",
        ("a.png", one),
        ("a.txt", b"a caption"),
        ("a.json", {"caption": "a caption", "url": "u"}),
        ("b.0.png", one),
        ("b.1.png", two),
        ("b.json", typed),
        ("c.PNG", one),
        ("c.json", {"messages": [{"role": "user", "content": "<image>What?"}]}),
    )
    captioned, named, marked = open_source(path, check_images=True)
    assert (
        captioned.messages[1].text == "a caption" and captioned.meta == {"url": "u"} and captioned.id == "a"
    )
    assert [image.bytes for image in named.images] == [two, one]
    assert marked.messages[0].content == (Image(bytes=one), Text(text="What?"))


BAD_SAMPLES = [
    ([("x.json", llava(0)), ("x.pyd", b"cos\nsystem\n")], "pyd", "is a pickle"),
    ([("x.json", llava(0)), ("x.jpg", b"", tarfile.SYMTYPE)], "jpg", "is a link"),
    ([("x.json", llava(0)), ("x.jpg", b"", tarfile.LNKTYPE)], "jpg", "is a link"),
    ([("x.json", llava(0)), ("x.jpg", b"", tarfile.FIFOTYPE)], "jpg", "is no file"),
    ([("x.json", llava(0)), ("x.jpg", b"1"), ("x.jpg", b"2")], "jpg", "twice"),
    (
        [("x.json", llava(0, "../../etc/passwd"))],
        "conversations[0].content[0]|messages[0].content[0]",
        "is no member",
    ),
    ([("x.json", llava(0, "/etc/passwd"))], "messages[0].content[0]", "is no member of the sample 'x'"),
    ([("x.json", llava(0, ["a.jpg", "b.jpg"])), ("x.jpg", b"1")], "conversations", "make them equal"),
    ([("x.json", b"[1]")], "json", "must be an object"),
    ([("x.json", b"{")], "", "not JSON"),
    ([("x.txt", b"\xff"), ("x.jpg", b"1")], "txt", "not UTF-8"),
    ([("x.jpg", b"1")], "", "no known format"),
]


@pytest.mark.parametrize("members, field, words", BAD_SAMPLES)
def test_bad_samples_are_named(tmp_path, png, members, field, words):
    good = [("good.json", llava(1)), ("good.jpg", png())]
    path = tar(tmp_path / "a.tar", *good, *members)
    with pytest.raises(RecordError, match=r"a\.tar, sample 2") as caught:
        open_source(path)
    assert caught.value.row.field in field.split("|") and words in caught.value.row.reason
    source = open_source(path, on_error="set_aside")
    assert ids(source) == ["r1"] and source.set_aside.seen == 2


def test_a_sample_that_is_there_twice(tmp_path, png):
    members = [
        ("a.json", llava(1)),
        ("a.jpg", png()),
        ("b.json", llava(2)),
        ("b.jpg", png()),
        ("a.json", llava(3)),
    ]
    source = open_source(tar(tmp_path / "a.tar", *members), on_error="set_aside")
    assert ids(source) == ["r1", "r2"] and "there twice in the shard" in source.set_aside.rows[0].reason


def test_a_tar_that_changed_is_noticed(tmp_path, png):
    path = tar(tmp_path / "a.tar", ("a.json", llava(1)), ("a.jpg", png()))
    source = open_source(path)
    tar(path, ("b.jpg", png(99, 99)), ("b.json", llava(1)))
    with pytest.raises(ValueError, match="was changed since it was opened"):
        source[0]


# What the fingerprint covers


def test_a_changed_picture_changes_the_fingerprint(folder, png):
    (folder / "a.jsonl").write_text(json.dumps(llava(0, "b.jpg")))

    def fingerprint():
        return open_source(folder / "a.jsonl").fingerprint

    before, raw = fingerprint(), (folder / "b.jpg").read_bytes()
    assert fingerprint() == before
    (folder / "b.jpg").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert fingerprint() != before
    (folder / "b.jpg").write_bytes(raw)
    assert fingerprint() == before
    (folder / "b.jpg").unlink()
    assert fingerprint() != before
    big = b"\xff\xd8" + bytes(2 * HASHED_BYTES)
    seen = set()
    for place in (3, HASHED_BYTES // 2 - 1, len(big) - HASHED_BYTES // 2, len(big) - 1):
        (folder / "b.jpg").write_bytes(big[:place] + b"x" + big[place + 1 :])
        seen.add(fingerprint())
    (folder / "b.jpg").write_bytes(big + b"\0")
    assert len({*seen, fingerprint()}) == 5


def test_paths_may_begin_elsewhere(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jsonl").write_text(json.dumps(llava(0, "b.jpg")))
    source = open_source(tmp_path / "elsewhere" / "a.jsonl", root=folder, check_images=True)
    assert source.root == folder and source[0].images[0].open(source.root).size == (8, 6)
    with pytest.raises(ValueError, match="is no folder"):
        open_source(tmp_path / "elsewhere" / "a.jsonl", root="none")


# Writing shards


def records(png):
    return [
        Chat(
            id=str(n),
            messages=(
                Message(
                    role="user",
                    content=(Image(bytes=png(seed=n)), Text(text="q"), Image(bytes=png(seed=n + 1))),
                ),
                Message(role="assistant", content="a", weight=0.5),
            ),
            meta={"n": n},
        )
        for n in range(5)
    ]


@pytest.mark.parametrize(
    "to, out",
    [
        ("datasets", "d"),
        ("webdataset", "w"),
        ("webdataset", "w.tar"),
        ("parquet", "p.parquet"),
        ("jsonl", "j.jsonl"),
    ],
)
def test_containers_that_are_written_read_back(tmp_path, png, to, out, monkeypatch):
    from vitrail.data.readers import shards

    monkeypatch.setattr(shards, "SHARD_RECORDS", 2)
    assert convert(records(png), tmp_path / out, to, images="inline").used == 5
    assert list(open_source(tmp_path / out)) == records(png)
    made = sorted(file.name for file in (tmp_path / out).rglob("*.*")) if (tmp_path / out).is_dir() else []
    if to == "datasets":
        assert made == [f"train-{n:05d}-of-00003.parquet" for n in range(3)]
        schema = pq.read_schema(tmp_path / out / "data" / made[0])
        described = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        assert described["images"] == [{"_type": "Image"}] and sorted(described) == sorted(schema.names)
    if out == "w":
        assert made == ["000000.tar", "000001.tar", "000002.tar"]
        convert(records(png), tmp_path / "again", to)
        same = [
            (tmp_path / "again" / name).read_bytes() == (tmp_path / out / name).read_bytes() for name in made
        ]
        assert all(same)


def test_a_tar_holds_every_kind_of_record(tmp_path, png):
    video = Video(frames=(Image(bytes=png(seed=1)), Image(bytes=png(seed=2))), fps=2.0)
    document = Document(content=(Text(text="x"), video, Image(url="https://x.org/a.png")))
    convert([document], tmp_path / "a.tar", "webdataset")
    assert list(open_source(tmp_path / "a.tar")) == [document]
    with pytest.raises(ValueError, match=r"record 1, kind: a document has no place"):
        convert([document], tmp_path / "d", "datasets")
    assert not (tmp_path / "d").exists()

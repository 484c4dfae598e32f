import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrail.data.readers import (
    ParquetSource,
    RecordError,
    open_source,
    parquet,
    write_jsonl,
    write_parquet,
    writing,
)
from vitrail.data.records import Chat, Document, Image, Message, Text
from vitrail.data.sources import Source


def chats(n, raw=b""):
    content = (Image(bytes=raw),) if raw else ()
    return [
        Chat(id=str(i), messages=(Message(role="user", content=(*content, Text(text=f"question {i}"))),))
        for i in range(n)
    ]


def test_random_access_across_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(parquet, "CACHE_BYTES", 1)
    records = chats(40, raw=b"x" * 100)
    write_parquet(records, tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    assert isinstance(source, Source) and isinstance(source, ParquetSource)
    assert source._reader(0).metadata.num_row_groups == 6
    for index in (39, 0, 6, 7, 20, 39):
        assert source[index] == records[index]
        assert len(source._groups) == 1
    assert list(source) == records
    assert pickle.loads(pickle.dumps(source))[20] == records[20]
    assert source.fingerprint == open_source(tmp_path / "a.parquet").fingerprint


def test_row_groups_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 1000)
    write_parquet(chats(10, raw=b"x" * 400), tmp_path / "a.parquet")
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 4


def _foreign(path, rows, schema=None):
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def test_files_of_the_datasets_library(tmp_path, png):
    rows = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "text": None}, {"type": "text", "text": "What?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
            ],
            "images": [{"bytes": png(seed=n), "path": f"{n}.png"}],
            "dataset": "vqa",
        }
        for n in range(3)
    ]
    source = open_source(_foreign(tmp_path / "a.parquet", rows), check_images=True)
    record = source[1]
    assert record.images == [Image(bytes=png(seed=1))]
    assert record.messages[0].text == "What?" and record.messages[1].text == "A cat."
    assert record.meta == {"dataset": "vqa"}


def test_string_content_with_pictures_beside(tmp_path, png):
    rows = [{"messages": [{"role": "user", "content": "What?"}], "images": [{"bytes": png(), "path": None}]}]
    chat = open_source(_foreign(tmp_path / "a.parquet", rows))[0]
    assert chat.messages[0].content == (Image(bytes=png()), Text(text="What?"))


def test_bad_rows_are_refused_or_set_aside(tmp_path):
    rows = [{"id": n, "messages": [{"role": "user" if n % 3 else "boss", "content": "x"}]} for n in range(10)]
    path = _foreign(tmp_path / "a.parquet", rows)
    with pytest.raises(RecordError, match=r"a\.parquet, row 1, messages\[0\]\.role: 'boss'"):
        open_source(path)
    source = open_source(path, on_error="set_aside")
    assert [record.id for record in source] == ["1", "2", "4", "5", "7", "8"]
    assert [bad.line for bad in source.set_aside.rows] == [1, 4, 7, 10]
    assert source.set_aside.used + len(source.set_aside) == source.set_aside.seen == 10
    assert source.line(2) == 5


def test_paths_are_kept_inside_the_folder(folder):
    rows = [
        {"messages": [{"role": "user", "content": "x"}], "images": [{"bytes": None, "path": "../secret.png"}]}
    ]
    with pytest.raises(RecordError, match="outside the file's folder"):
        open_source(_foreign(folder / "a.parquet", rows))


def test_what_is_no_file_of_chats(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match="not a Parquet file that can be read"):
        open_source(tmp_path / "a.parquet")
    with pytest.raises(RecordError, match="no known format"):
        open_source(_foreign(tmp_path / "b.parquet", [{"words": "x"}]))
    with pytest.raises(ValueError, match="holds no rows"):
        open_source(_foreign(tmp_path / "c.parquet", [], pa.schema([("messages", pa.string())])))
    with pytest.raises(ValueError, match=r"record 0 is a document; .*write_jsonl"):
        write_parquet([Document(content=(Text(text="x"),))], tmp_path / "d.parquet")
    assert not (tmp_path / "d.parquet").exists()


def test_jsonl_and_parquet_hold_the_same(tmp_path, png):
    records = chats(5, raw=png())
    write_jsonl(records, tmp_path / "a.jsonl", images="inline")
    write_parquet(open_source(tmp_path / "a.jsonl"), tmp_path / "a.parquet")
    assert list(open_source(tmp_path / "a.parquet")) == records

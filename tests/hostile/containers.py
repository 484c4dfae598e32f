"""Parquet, Arrow and tar files that are cut off or changed, and what is no file at all."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

from hostile.case import Case, Outcome, noise, saved
from hostile.rows import FOREIGN


def parquet_bytes(rows: int = 6) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = [
        {"messages": [{"role": "user", "content": f"q{n}"}], "images": [{"bytes": saved(noise(), "PNG")}]}
        for n in range(rows)
    ]
    pq.write_table(pa.Table.from_pylist(table), buffer, row_group_size=2)
    return buffer.getvalue()


def arrow_bytes() -> bytes:
    import pyarrow as pa

    buffer = io.BytesIO()
    table = pa.Table.from_pylist([{"messages": [{"role": "user", "content": f"q{n}"}]} for n in range(6)])
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def tar_bytes(samples: int = 3) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for n in range(samples):
            sample = {"json": json.dumps(FOREIGN["llava"]).encode(), "png": saved(noise(), "PNG")}
            for ending, raw in sample.items():
                info = tarfile.TarInfo(f"{n:04d}.{ending}")
                info.size = len(raw)
                archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


def containers() -> list[Case]:
    def binary(name: str, raw: bytes, suffix: str, outcome: Outcome = "either", words: str = "") -> Case:
        def make(folder: Path) -> Path:
            (folder / f"rows{suffix}").write_bytes(raw)
            return folder / f"rows{suffix}"

        return Case(name, make, outcome, words)

    def flipped(raw: bytes, place: int) -> bytes:
        return raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]

    cases = []
    for suffix, raw in ((".parquet", parquet_bytes()), (".arrow", arrow_bytes()), (".tar", tar_bytes())):
        for n in range(1, 13):
            place = len(raw) * n // 13
            cases.append(binary(f"{suffix} cut at {place}", raw[:place], suffix))
            cases.append(binary(f"{suffix} with byte {place} turned", flipped(raw, place), suffix))
        for place in (0, 5, 257, 263, 300, len(raw) - 6, len(raw) - 1):
            cases.append(binary(f"{suffix} with byte {place} turned", flipped(raw, place), suffix))
    cases += [
        binary("parquet of nothing", b"PAR1PAR1", ".parquet", "refused", "not a Parquet file"),
        binary(
            "parquet with a huge footer",
            b"PAR1" + b"\xff\xff\xff\x7fPAR1",
            ".parquet",
            "refused",
            "not a Parquet file",
        ),
        binary("text called parquet", b"hello", ".parquet", "refused", "not a Parquet file"),
        binary("text called arrow", b"hello", ".arrow", "refused", "not an Arrow file"),
        binary("text called tar", b"hello" * 300, ".tar", "bad", "no tar header"),
        binary("empty tar", bytes(10_240), ".tar", "refused", "holds no rows"),
        binary("gzipped tar", gzip.compress(tar_bytes()), ".tar", "refused", "compressed"),
        Case("a folder of nothing", lambda folder: folder, "refused", "is a folder"),
        Case("no such file", lambda folder: folder / "none.jsonl", "refused", "there is no file"),
        Case(
            "a pattern of nothing", lambda folder: f"{folder}/{{00..03}}.tar", "refused", "there is no file"
        ),
        Case("a name of 300 letters", lambda folder: folder / ("x" * 300), "refused", "cannot be read"),
        Case("a name with a null byte", lambda folder: f"{folder}/a\0b", "refused", "cannot be read"),
    ]

    def pipe(folder: Path) -> Path:
        os.mkfifo(folder / "rows.jsonl")
        return folder / "rows.jsonl"

    def loop(folder: Path) -> Path:
        (folder / "rows.jsonl").symlink_to("rows.jsonl")
        return folder / "rows.jsonl"

    return [
        *cases,
        Case("a pipe for a file", pipe, "refused", "a pipe"),
        Case("a link to itself", loop, "refused", "cannot be read"),
        Case("a device for a file", lambda folder: "/dev/zero", "refused", "a device"),
    ]

"""Files of rows that are no JSON, or not as it should be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from hostile.case import Case, Outcome, noise, row, saved


def texts() -> list[Case]:
    one, two = (json.dumps(row("a.png", id=str(n))).encode() for n in range(2))

    def rows(name: str, raw: bytes, outcome: Outcome, words: str = "", suffix: str = ".jsonl") -> Case:
        def make(folder: Path) -> Path:
            (folder / "a.png").write_bytes(saved(noise(), "PNG"))
            (folder / f"rows{suffix}").write_bytes(raw)
            return folder / f"rows{suffix}"

        return Case(name, make, outcome, words, pixels=noise() if outcome == "good" else None)

    deep = b'{"messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    array = b"[" + one + b",\n " + two + b"]"
    good = {
        "BOM": b"\xef\xbb\xbf" + one + b"\n" + two,
        "CRLF": one + b"\r\n" + two + b"\r\n",
        "mixed line ends": one + b"\r\n" + two + b"\n\r\n \t\n" + one,
        "no last line end": one,
        "array": array,
        "array with BOM and CRLF": b"\xef\xbb\xbf\r\n" + array.replace(b"\n", b"\r\n") + b"\r\n",
        "escaped everything": one.replace(b"What?", b"\\u0057\\ud83e\\udd8a\\/\\n"),
        "raw unicode": one.replace(b"What?", "é🦊\u2028\u2029".encode()),
        "a number of 400 digits": one.replace(b'"id"', b'"n": ' + b"9" * 400 + b', "id"'),
    }
    bad = {
        "CR": (one + b"\r" + two, "carriage returns"),
        "null bytes in a text": (one.replace(b"What", b"Wh\0at"), "not JSON"),
        "null bytes for a row": (bytes(400), "null bytes"),
        "latin-1": (one.replace(b"What", b"Wh\xe9t"), "not UTF-8"),
        "lone surrogate": (one.replace(b"What", b"\\ud800"), "surrogate"),
        "raw surrogate": (one.replace(b"What", b"\xed\xa0\x80"), "not UTF-8"),
        "nested deeply": (deep, "nested too deeply|messages"),
        "NaN": (one.replace(b'"id"', b'"n": NaN, "id"'), "NaN is no JSON number"),
        "Infinity": (one.replace(b'"id"', b'"n": [-Infinity], "id"'), "Infinity is no JSON number"),
        "1e999": (one.replace(b'"id"', b'"n": 1e999, "id"'), "too large"),
        "a number of 9,000 digits": (
            one.replace(b'"id"', b'"n": ' + b"9" * 9000 + b', "id"'),
            "not JSON that can be read",
        ),
        "a key twice": (one.replace(b'"id"', b'"messages": [], "id"'), "is there twice"),
        "an inner key twice": (one.replace(b'"path"', b'"path": "b.png", "path"'), "is there twice"),
        "cut off": (one[:50], "not JSON"),
        "trailing comma": (one[:-1] + b",}", "not JSON"),
        "comment": (one + b" // note", "not JSON"),
        "python": (str(row()).encode(), "not JSON"),
        "two rows on a line": (one + b" " + two, "not JSON"),
        "a string": (b'"x"', "must be a JSON object"),
        "csv": (b"a,b,c\n1,2,3", "not JSON"),
        "a web page": (b"<html></html>", "not JSON"),
    }
    refused = {
        "UTF-16": (json.dumps(row()).encode("utf-16"), "save it as UTF-8"),
        "UTF-16 big endian": (b"\xfe\xff" + json.dumps(row()).encode("utf-16-be"), "save it as UTF-8"),
        "UTF-32": (json.dumps(row()).encode("utf-32"), "save it as UTF-8"),
        "nothing": (b"", "holds no rows"),
        "blank lines": (b"\n \n\t\r\n", "holds no rows"),
        "gzip": (gzip.compress(one), "compressed"),
        "cut gzip": (gzip.compress(one)[:20], "compressed"),
        "zip": (b"PK\x03\x04" + bytes(99), "compressed"),
        "zstd": (b"\x28\xb5\x2f\xfd" + bytes(99), "compressed"),
        "cut array": (array[:-20], "cut off"),
        "array without a comma": (b"[" + one + two + b"]", "a comma"),
        "array of arrays deeply": (b"[" + b"[" * 90_000, "nested too deeply"),
        "array in UTF-16": (b"\xff\xfe" + array.decode().encode("utf-16-le"), "save it as UTF-8"),
    }
    return [
        *(rows(name, raw, "good") for name, raw in good.items()),
        *(rows(name, raw, "bad", words) for name, (raw, words) in bad.items()),
        *(rows(name, raw, "refused", words) for name, (raw, words) in refused.items()),
        rows("UTF-16 without a mark", json.dumps(row()).encode("utf-16-le"), "bad", "UTF-16"),
        rows("a table cut in quotes", b'question,answer\n"Q,A\n', "bad", "no row of a table", ".csv"),
        rows("a table with null bytes", b"question,answer\nQ\0,A\n", "either", "", ".csv"),
        rows("a table of too many cells", b"question,answer\nQ,A,B\n", "bad", "has 3 cells", ".csv"),
        rows("a table not in UTF-8", b"question,answer\nQ\xff,A\n", "bad", "not UTF-8", ".csv"),
        rows("a table with a column twice", b"question,question\nQ,A\n", "refused", "twice", ".csv"),
    ]

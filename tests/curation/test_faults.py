"""Faults in the middle of whole runs: bad bytes, endless lines, bombs, killed workers, a full disk. Nothing is lost or
repeated, everything that left is counted, and memory stays bounded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

import web_archives
from misbehaving_server import bomb, png
from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs import INPUT, read_documents
from vitrail.curation.pipeline import InputSettings, Pipeline
from vitrail.curation.running import run
from vitrail.data.readers import open_source
from web_archives import tree

LONG = 120_000_000
"""Bytes of a line that never ends."""


def made(name: str, files: str, *operations, **output) -> Pipeline:
    return Pipeline.model_validate(
        {"input": {"name": name, "files": [files]}, "operations": list(operations), "output": output}
    )


def endless(path: Path, begin: bytes = b"", end: bytes = b"") -> None:
    """A file with one line of ``LONG`` bytes; it takes no room on the disk."""
    with open(path, "wb") as file:
        file.write(begin)
        file.truncate(len(begin) + LONG)
        file.seek(0, os.SEEK_END)
        file.write(end)


def response(length: int) -> bytes:
    return b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n" % length


WARC = web_archives.record("a", web_archives.page("a"))
ROW = b'{"kind": "document", "id": "a", "content": "words"}\n'


@pytest.mark.parametrize(
    "kind, name, begin, end, kept, reason, bound",
    [
        ("html", "a.html", b"<html><p>", b"</p></html>", 0, "page too large", 30_000_000),
        ("warc", "a.warc", WARC + response(LONG), b"\r\n\r\n" + WARC, 2, "page too large", 40_000_000),
        ("warc", "a.warc", WARC + b"WARC/1.0\r\nX-Long: ", b"\r\n\r\n", 1, "no WARC record", 10_000_000),
        ("warc", "a.warc", WARC, b"\r\n\r\n", 1, "no WARC record", 10_000_000),
        ("records", "a.jsonl", ROW + b'{"content": "', b'"}\n' + ROW, 2, "bad row", 220_000_000),
    ],
    ids=["html", "body", "header", "between records", "row"],
)
def test_a_line_that_never_ends_is_set_aside_in_bounded_memory(
    tmp_path, kind, name, begin, end, kept, reason, bound
):
    endless(tmp_path / name, begin, end)
    counts, settings = OperationCounts(INPUT), InputSettings(name=kind, files=(name,))
    list(read_documents(settings, [], tmp_path, counts))  # what is imported is no part of the bound
    tracemalloc.start()
    documents = list(read_documents(settings, [tmp_path / name], tmp_path, counts))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(documents) == counts.check().kept == kept and counts.set_aside == {reason: 1}
    assert peak < bound


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_cut_in_half_in_the_middle_of_a_run(tmp_path, share):
    web_archives.crawl(tmp_path / "crawl", pages=20)
    web_archives.cut_off(tmp_path / "crawl/1.warc.gz", share)
    ran = run(
        made("warc", "crawl/*", "extract", "exact_duplicates"),
        tmp_path / "out",
        base=tmp_path,
        engine="process",
    )
    first = ran.counts[0]
    assert first.set_aside == {"cut off": 1} and 40 < first.kept < 60
    assert first.seen == first.kept + sum(first.dropped.values()) + 1


def test_bytes_that_are_no_utf8_are_replaced_or_set_aside(tmp_path):
    broken = web_archives.record("b", web_archives.page("b")).replace(b"stands", b"st\xff\xfeds")
    (tmp_path / "a.warc").write_bytes(WARC + broken)
    ran = run(made("warc", "a.warc", "extract"), tmp_path / "one", base=tmp_path, engine="process")
    texts = [
        part.text
        for one in open_source(tmp_path / "one/data/und")
        for part in one.content
        if part.type == "text"
    ]
    assert ran.counts[-1].kept == 2 and any("st\ufffd\ufffdds" in text for text in texts)
    (tmp_path / "a.jsonl").write_bytes(ROW + ROW.replace(b"words", b"wo\xffrds") + ROW)
    ran = run(
        made("records", "a.jsonl", "document_length"), tmp_path / "two", base=tmp_path, engine="process"
    )
    assert ran.counts[0].kept == 2 and ran.counts[0].set_aside == {"bad row": 1}


def test_pictures_that_are_bombs_or_broken_cost_their_place_and_nothing_else(tmp_path):
    (tmp_path / "docs").mkdir()
    whole = png(200)
    for name, raw in {"bomb": bomb(), "half": whole[:60], "text": b"<svg/>", "good": whole}.items():
        (tmp_path / f"docs/{name}.png").write_bytes(raw)
        html = web_archives.page(name).replace(f'"/{name}.png" width="200" height="300"', f'"{name}.png"')
        (tmp_path / f"docs/{name}.html").write_text(html)
    ran = run(
        made("html", "docs", "extract", "image_rules", "repeated_images"),
        tmp_path / "out",
        base=tmp_path,
        engine="process",
    )
    counts = {one.name: one for one in ran.counts}
    assert counts["image_rules"].parts_removed["cannot be decoded"] >= 2 and ran.counts[-1].kept == 4
    with_pictures = [one.id for one in open_source(tmp_path / "out/data/und") if one.images]
    assert "docs/good.html" in with_pictures and "docs/bomb.html" not in with_pictures


def test_a_worker_killed_in_the_middle_of_a_run_loses_and_repeats_nothing(tmp_path):
    psutil = pytest.importorskip("psutil")
    web_archives.crawl(tmp_path / "crawl", files=4, pages=60)
    pipeline = made("warc", "crawl/*", "extract", "language", "near_duplicates")
    run(pipeline, tmp_path / "whole", base=tmp_path, engine="process")
    killed: list[int] = []

    def kill_one() -> None:
        """As soon as a worker has a partition in the making."""
        end = time.monotonic() + 300
        while not killed and time.monotonic() < end:
            if any((tmp_path / "out/work").glob("*/.partial-*")):
                for child in psutil.Process().children():
                    if any("spawn_main" in word for word in child.cmdline()) and not killed:
                        os.kill(child.pid, signal.SIGKILL)
                        killed.append(child.pid)
            time.sleep(0.001)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    said: list[str] = []
    ran = run(pipeline, tmp_path / "out", base=tmp_path, engine="cores", workers=2, say=said.append)
    killer.join()
    assert killed and tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert ran.counts[0].kept == 240 and not list((tmp_path / "out/work").glob("*/.partial-*"))


_DRIVER = """
import sys
from pathlib import Path
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run
if __name__ == "__main__":
    place = Path(sys.argv[1])
    pipeline = Pipeline.model_validate_json((place / "pipeline.json").read_text())
    run(pipeline, place / "out", base=place, engine="cores", workers=2)
"""


def test_the_process_that_drives_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    psutil = pytest.importorskip("psutil")
    web_archives.crawl(tmp_path / "crawl", files=6, pages=20)
    pipeline = made("warc", "crawl/*", "extract", "language", "near_duplicates")
    run(pipeline, tmp_path / "whole", base=tmp_path, engine="process")
    (tmp_path / "pipeline.json").write_text(pipeline.model_dump_json())
    (tmp_path / "driver.py").write_text(_DRIVER)

    def whole() -> int:
        return sum(not path.name.startswith(".") for path in (tmp_path / "out/work").glob("*/*"))

    for _ in range(3):
        before = whole()
        driver = psutil.Popen([sys.executable, str(tmp_path / "driver.py"), str(tmp_path)])
        while driver.poll() is None and whole() == before:
            time.sleep(0.001)
        workers = driver.children(recursive=True) if driver.is_running() else []
        driver.kill()
        driver.wait()
        assert whole() > before
        _, left = psutil.wait_procs(workers, timeout=60)
        assert not left, "workers outlive whoever gave them work"
    ran = run(pipeline, tmp_path / "out", base=tmp_path, engine="process")
    assert ran.counts[0].kept == 120 and tree(tmp_path / "out") == tree(tmp_path / "whole")


_SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from vitrail.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_ends_the_run_with_a_sentence_and_the_next_one_goes_on(tmp_path):
    """No file may grow beyond some kilobytes: the write itself fails, in the middle of a partition."""
    web_archives.crawl(tmp_path / "crawl", pages=30)
    text = 'input: {name: warc, files: ["crawl/*"]}\noperations: [extract, document_length]\n'
    (tmp_path / "p.yaml").write_text(text)
    words = ["data", "run", str(tmp_path / "p.yaml"), "--out", str(tmp_path / "out"), "--engine", "process"]
    command = [sys.executable, "-c", _SMALL_DISK, "8000", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out/data").exists() and not (tmp_path / "out/funnel.json").exists()
    assert not [path for path in (tmp_path / "out/work").rglob("*") if path.is_file()]
    pipeline = made("warc", "crawl/*", "extract", "document_length")
    run(pipeline, tmp_path / "out", base=tmp_path, engine="process")
    run(pipeline, tmp_path / "whole", base=tmp_path, engine="process")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert json.loads((tmp_path / "out/funnel.json").read_text())["operations"][-1]["kept"] == 90


def test_a_disk_that_fills_while_fetching_ends_the_run_and_keeps_what_is_there(tmp_path, monkeypatch):
    from misbehaving_server import Server
    from vitrail.curation.fetching.fetcher import Fetcher, FetchSettings
    from vitrail.storage import atomic

    settings = FetchSettings(allow_networks=("127.0.0.0/8",), ports=(), retries=0, per_second=1e6)
    original = atomic.write_bytes

    def full(path, body):
        if body != png():
            raise OSError(28, "No space left on device", str(path))
        original(path, body)

    with Server() as server:
        addresses = [server.address("good.png"), server.address("other.bin")]
        monkeypatch.setattr(atomic, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            Fetcher(settings, tmp_path).run(addresses)
        monkeypatch.setattr(atomic, "write_bytes", original)
        found = Fetcher(settings, tmp_path).run(addresses)
        assert all(one.path for one in found.values()) and server.counts["/good.png"] == 1

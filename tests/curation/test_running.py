"""A pipeline run into a folder: equal bytes on every engine, nothing lost, nothing repeated."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

import web_archives
from vitrail.cli.main import main
from vitrail.curation import engines
from vitrail.curation.engines import Workers
from vitrail.curation.pipeline import Pipeline, read_pipeline
from vitrail.curation.running import run
from vitrail.data.readers import open_source
from web_archives import tree

OPERATIONS = ["extract", {"name": "document_length", "min_characters": 400, "combine": "or"}]


def pipeline(*operations, **output):
    return Pipeline.model_validate(
        {
            "input": {"name": "warc", "files": ["crawl/*.warc.gz"]},
            "operations": list(operations) or OPERATIONS,
            "output": output,
        }
    )


@pytest.fixture
def crawl(tmp_path):
    web_archives.crawl(tmp_path / "crawl")
    return tmp_path


def test_counts_add_up_and_the_files_are_read_back(crawl):
    ran = run(pipeline(), crawl / "out", base=crawl, engine="process")
    names = ["input", "extract", "document_length", "output"]
    assert [one.name for one in ran.counts] == names and ran.partitions == 3
    assert ran.counts[0].seen == 24 and ran.counts[0].kept == ran.counts[-1].kept == 18
    documents = list(open_source(crawl / "out/data/und"))
    assert len(documents) == 18 and documents[0].meta["url"] == "http://example.org/0-0/page.html"
    assert [part.type for part in documents[0].content].count("image") == 1


@pytest.mark.parametrize("layout", ["obelics", "moscar", "documents"])
def test_every_layout_says_the_same(crawl, layout):
    run(pipeline(layout=layout, by_language=False), crawl / "out", base=crawl, engine="process")
    found = [
        document.model_dump(exclude={"content": {"__all__": {"width", "height"}}})
        for path in sorted((crawl / "out/data").iterdir())
        for document in open_source(path)
    ]
    run(pipeline(layout="documents", by_language=False), crawl / "other", base=crawl, engine="process")
    wanted = [
        document.model_dump(exclude={"content": {"__all__": {"width", "height"}}})
        for path in sorted((crawl / "other/data").iterdir())
        for document in open_source(path)
    ]
    assert found == wanted and len(found) == 18


def test_a_run_that_failed_goes_on_where_it_was(crawl, monkeypatch):
    wanted = run(pipeline(), crawl / "whole", base=crawl, engine="process")
    original, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 9:
            raise OSError(28, "No space left on device")
        original(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run(pipeline(), crawl / "out", base=crawl, engine="process")
    assert not (crawl / "out/data").exists()
    monkeypatch.setattr(os, "fsync", original)
    said = []
    ran = run(pipeline(), crawl / "out", base=crawl, engine="process", say=said.append)
    assert "1 were there" in said[0] or "2 were there" in said[0]
    assert tree(crawl / "out") == tree(crawl / "whole") and ran.counts == wanted.counts
    said.clear()
    run(pipeline(), crawl / "out", base=crawl, engine="process", say=said.append)
    assert all(line.split(": ")[1].startswith("0 of 3") for line in said)


def test_other_settings_make_only_what_depends_on_them(crawl):
    run(pipeline(), crawl / "out", base=crawl, engine="process")
    said = []
    run(pipeline(layout="moscar"), crawl / "out", base=crawl, engine="process", say=said.append)
    assert said[0].endswith("0 of 3 partitions to do, 3 were there") and "3 of 3" in said[-1]


def test_the_names_and_order_of_files_decide_nothing(crawl):
    (crawl / "crawl/0.warc.gz").rename(crawl / "crawl/tmp")
    (crawl / "crawl/2.warc.gz").rename(crawl / "crawl/0.warc.gz")
    (crawl / "crawl/tmp").rename(crawl / "crawl/2.warc.gz")
    run(pipeline(), crawl / "out", base=crawl, engine="process")
    ids = [document.id for document in open_source(crawl / "out/data/und")]
    assert ids[0] == "urn:uuid:2-0" and len(set(ids)) == 18


def _die_once(task):
    folder, number = task
    mark = Path(folder) / f"died-{number}"
    if number == 1 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(folder) / f"done-{number}").write_text("x")


def _always_die(task):
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(task):
    raise ValueError(f"task {task} is wrong")


def test_a_killed_worker_loses_nothing(tmp_path):
    with Workers("cores", 2) as workers:
        workers.run(_die_once, [(str(tmp_path), n) for n in range(5)])
    assert sorted(path.name for path in tmp_path.glob("done-*")) == [f"done-{n}" for n in range(5)]


def test_workers_that_keep_dying_end_the_run_and_an_error_is_its_tasks_own(monkeypatch):
    monkeypatch.setattr(engines, "ATTEMPTS", 1)
    with Workers("cores", 2) as workers:
        with pytest.raises(ValueError, match=r"task \d is wrong"):
            workers.run(_fail, [1, 2])
        with pytest.raises(RuntimeError, match="workers died"):
            workers.run(_always_die, [1, 2])
    with pytest.raises(ValueError, match="engine is 'spark'; use one of process, cores, ray"):
        Workers("spark")


def test_faults_are_set_aside_and_counted(crawl, monkeypatch):
    from vitrail.curation.operations.document_rules import DocumentLength

    def judge(self, document):
        if document.id.endswith("-3"):
            raise ValueError("this one cannot be judged")
        return original(self, document)

    original = DocumentLength.__call__
    monkeypatch.setattr(DocumentLength, "__call__", judge)
    ran = run(pipeline(), crawl / "out", base=crawl, engine="process")
    assert ran.counts[2].set_aside == {"ValueError": 3} and ran.counts[2].kept == 15
    dropped = [
        json.loads(line)
        for path in (crawl / "out/work").rglob("dropped.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert {row["detail"] for row in dropped} == {"this one cannot be judged"}


def test_the_commands(crawl, capsys):
    (crawl / "p.yaml").write_text(
        'input: {name: warc, files: ["crawl/*.warc.gz"]}\noperations: [extract, document_length]\n'
    )
    words = ["data", "run", str(crawl / "p.yaml"), "--out", str(crawl / "out"), "--engine", "process"]
    assert main(words) == 0 and "18 documents in 3 files" in capsys.readouterr().out
    assert main(["data", "report", str(crawl / "out")]) == 0
    assert "HTTP status 404" in capsys.readouterr().out
    assert "All there is to say" in (crawl / "out/report.html").read_text()
    place = f"{crawl / 'crawl/1.warc.gz'}#2"
    assert main(["data", "explain", str(crawl / "p.yaml"), place]) == 0
    out = capsys.readouterr().out
    assert "extract: changed" in out and "[image http://example.org/thing2.png]" in out
    assert main(["data", "explain", str(crawl / "p.yaml"), f"{place}0"]) == 2
    assert "holds 6 documents" in capsys.readouterr().err
    assert main(["data", "report", str(crawl)]) == 2 and "no finished run" in capsys.readouterr().err
    (crawl / "p.yaml").write_text("input: {name: warc, files: [none]}\noperations: [extrakt]\n")
    assert main(words) == 2
    assert "no operation has this name; did you mean 'extract'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, said",
    [
        ("input: {name: warc, files: []}\noperations: [extract]", "input.files"),
        ("input: {name: warc, files: [a]}\noperations: []", "operations"),
        (
            "input: {name: tar, files: [a]}\noperations: [extract]",
            "input.name: must be one of warc, html, records",
        ),
        ("input: {name: warc, files: [a]}\noperations: [{name: extract, max_images: -1}]", "max_images"),
        ("input: [", "is not YAML"),
    ],
)
def test_a_wrong_pipeline_is_named_by_its_field(tmp_path, text, said):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_pipeline(tmp_path / "p.yaml")


def test_input_that_is_not_there_and_folders_of_others(crawl):
    lost = pipeline().model_copy(update={"input": pipeline().input.model_copy(update={"files": ("none*",)})})
    with pytest.raises(ValueError, match="there is no file"):
        run(lost, crawl / "out", base=crawl)
    with pytest.raises(ValueError, match="was not made by a pipeline"):
        run(pipeline(), crawl / "crawl", base=crawl)


def test_decisions_over_the_corpus_do_not_depend_on_partitions_or_engine(crawl):
    """Every file says the same six things: of each the first one stays, whichever partition the others are in."""
    operations = [
        "extract", "text_rules", "language", "exact_duplicates", {"name": "repeated_images", "max_in_language": 2},
        "near_duplicates", "personal_data", "document_length",
    ]  # fmt: skip
    (crawl / "crawl/3.warc.gz").write_bytes(b"")  # a partition with nothing in it
    one = run(pipeline(*operations), crawl / "one", base=crawl, engine="process")
    run(pipeline(*operations), crawl / "two", base=crawl, engine="cores", workers=2)
    assert tree(crawl / "one") == tree(crawl / "two") and one.partitions == 4
    counts = {count.name: count for count in one.counts}
    assert counts["exact_duplicates"].dropped == {"exact duplicate": 12}
    assert counts["exact_duplicates"].kept == counts["near_duplicates"].seen == 6
    assert counts["near_duplicates"].dropped == {"near duplicate": 5}  # they differ in one word
    (kept,) = open_source(crawl / "one/data/en")
    assert kept.id == "urn:uuid:0-0"


def test_html_below_a_folder_with_its_pictures(tmp_path):
    from PIL import Image

    (tmp_path / "docs/img").mkdir(parents=True)
    Image.new("RGB", (200, 300)).save(tmp_path / "docs/img/thing.png")
    for n in range(3):
        html = web_archives.page(f"thing{n}").replace(f"/thing{n}.png", "img/thing.png")
        (tmp_path / f"docs/{n}.html").write_text(html)
    given = {
        "input": {"name": "html", "files": ["docs"], "partition_files": 2},
        "operations": ["extract", "image_rules"],
    }
    ran = run(Pipeline.model_validate(given), tmp_path / "out", base=tmp_path, engine="process")
    assert (
        ran.partitions == 2 and ran.counts[0].dropped == {"not an HTML file": 1} and ran.counts[-1].kept == 3
    )
    (document, *_) = open_source(tmp_path / "out/data/und")
    (image,) = [part for part in document.content if part.type == "image"]
    assert image.open().size == (200, 300) and document.meta["path"] == "docs/0.html"


def test_records_go_in_and_what_is_no_document_is_counted(tmp_path):
    rows = [
        {"kind": "document", "id": "a", "content": "words " * 100},
        {"messages": [{"role": "user", "content": "no document"}]},
        {"kind": "document", "content": 3},
        {"kind": "document", "id": "b", "content": "bad \ud800"},
        {"text": "some more words " * 30},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = {"input": {"name": "records", "files": ["*.jsonl"]}, "operations": ["document_length"]}
    ran = run(Pipeline.model_validate(given), tmp_path / "out", base=tmp_path, engine="process")
    assert ran.counts[0].seen == 5 and ran.counts[0].kept == 2
    assert (
        ran.counts[0].dropped == {"a chat, not a document": 1} and sum(ran.counts[0].set_aside.values()) == 2
    )

"""What a report tells besides the funnel: how long documents are, by language, and duplicates in pairs."""

from __future__ import annotations

import json

import web_archives
from vitrail.cli.main import main
from vitrail.curation import distributions
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run
from vitrail.data.records import Document, Image, Text


def document(text: str, pictures: int, language: str) -> Document:
    content = (Text(text=text), *(Image(url=f"http://e.org/{n}.png") for n in range(pictures)))
    return Document(content=content, meta={"language": language})


def test_steps_double_and_partitions_add_up():
    given = [document("x" * n, n % 3, "en" if n % 2 else "de") for n in (1, 2, 3, 4, 7, 8, 1000, 1023, 1024)]
    parts = []
    for some in (given[:4], given[4:], []):
        parts.append({})
        for one in some:
            distributions.add(parts[-1], one)
    total = distributions.add_up(parts)
    assert list(total) == ["de", "en"] and total["en"]["characters"] == {"1": 1, "2": 1, "4": 1, "512": 1}
    assert total["de"]["characters"] == {"2": 1, "4": 1, "8": 1, "512": 1, "1024": 1}
    assert distributions.table(total, "pictures") == [("0", 2, 22.2), ("1", 5, 55.6), ("2–3", 2, 22.2)]
    assert sum(count for _, count, _ in distributions.table(total, "characters")) == 9
    assert distributions.middle(total["de"]["characters"]) == "8–15" and distributions.middle({}) == "–"


def test_the_page_shows_what_stayed_and_pairs_of_duplicates(tmp_path, capsys):
    web_archives.crawl(tmp_path / "crawl")
    operations = ["extract", "language", "exact_duplicates", "near_duplicates"]
    pipeline = Pipeline.model_validate(
        {"input": {"name": "warc", "files": ["crawl/*"]}, "operations": operations}
    )
    ran = run(pipeline, tmp_path / "out", base=tmp_path, engine="process")
    rows = json.loads((tmp_path / "out/funnel.json").read_text())
    stayed = rows["distributions"]["en"]
    assert all(sum(steps.values()) == ran.counts[-1].kept for steps in stayed.values())
    exact, near = rows["duplicates"]["exact_duplicates"], rows["duplicates"]["near_duplicates"]
    assert len(exact) == 8 and exact[0]["kept"] == "urn:uuid:0-0" and exact[0]["dropped"] == "urn:uuid:1-0"
    assert {pair["words in common"] for pair in exact} == {1.0}
    assert exact[0]["kept text"] == exact[0]["dropped text"] != ""
    assert 0.5 < near[0]["words in common"] < 1 and near[0]["kept text"] != near[0]["dropped text"]
    assert main(["data", "report", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "Duplicates: near_duplicates" in page and "characters of a document" in page

"""Fetching as an operation of a pipeline: counted, kept, the same bytes however it was run."""

from __future__ import annotations

import json

import pytest

from misbehaving_server import Server, png
from vitrail.curation.explaining import explain, find_document
from vitrail.curation.operations.fetch_images import FetchImages
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run
from vitrail.data.readers import open_source
from vitrail.data.records import Document, Image, Text
from web_archives import tree

pytest.importorskip("protego")
FETCH = {
    "name": "fetch_images", "per_second": 1e6, "allow_networks": ["127.0.0.0/8"], "ports": [], "retries": 0,
}  # fmt: skip


@pytest.fixture
def corpus(tmp_path):
    """Two files of records whose pictures are addresses of the server, and the server."""
    with Server() as server:
        for name, paths in {
            "a": ["good.png", "html.png"],
            "b": ["other.bin", "good.png", "gone.png"],
        }.items():
            rows = [
                Document(
                    id=f"{name}{n}", content=(Text(text=f"about {path}"), Image(url=server.address(path)))
                ).model_dump_json(exclude_none=True)
                for n, path in enumerate(paths)
            ]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
        yield tmp_path, server


def pipeline(**settings):
    return Pipeline.model_validate(
        {
            "input": {"name": "records", "files": ["*.jsonl"], "partition_files": 1},
            "operations": [{**FETCH, **settings}, {"name": "image_rules", "min_side": 9}],
        }
    )


def test_pictures_come_into_the_output_and_failures_into_the_funnel(corpus):
    base, server = corpus
    ran = run(pipeline(), base / "out", base=base, engine="process")
    counts = {one.name: one for one in ran.counts}
    assert counts["fetch_images"].parts_removed == {
        "not fetched: no picture": 1,
        "not fetched: status 404": 1,
    }
    assert counts["fetch_images"].changed == 5 and counts["image_rules"].parts_removed == {"too small": 2}
    found = list(open_source(base / "out/data/und"))
    (picture,) = [part for one in found for part in one.content if part.type == "image"]
    assert picture.bytes == png(9, (1, 2, 3))
    addresses = [address for one in found for address in one.meta.get("image_addresses", {}).values()]
    assert server.address("other.bin") in addresses
    asked, bytes_ = len(server.asked), tree(base / "out")
    assert asked == 5 and not (base / "out/media").exists() and (base / "media/addresses.jsonl").is_file()
    run(pipeline(), base / "out", base=base, engine="process")
    run(pipeline(), base / "two", base=base, engine="process")
    assert tree(base / "two") == bytes_ == tree(base / "out") and len(server.asked) == asked


def test_what_failed_may_stay_an_address(corpus):
    base, server = corpus
    ran = run(pipeline(failed="keep"), base / "out", base=base, engine="process")
    assert not ran.counts[1].parts_removed
    urls = {
        part.url for one in open_source(base / "out/data/und") for part in one.content if part.type == "image"
    }
    assert urls == {None, server.address("html.png"), server.address("gone.png")}


def test_explaining_asks_nobody(corpus):
    base, server = corpus
    made = pipeline()
    document = find_document(str(base / "b.jsonl"), made.input, base)
    before = {one.operation: one for one in explain(made, document, base)}
    assert before["fetch_images"].verdict == "1 addresses: 0 in the store, 1 to fetch" and not server.asked
    run(made, base / "out", base=base, engine="process")
    asked = len(server.asked)
    after = {one.operation: one for one in explain(made, document, base)}
    assert after["fetch_images"].verdict == "1 addresses: 1 in the store, 0 to fetch"
    assert after["fetch_images"].after.images[0].path.startswith("media/") and len(server.asked) == asked
    html = find_document(f"{base / 'a.jsonl'}#1", made.input, base)
    told = {one.operation: one for one in explain(made, html, base)}["fetch_images"]
    assert told.verdict.endswith("not fetched: no picture") and not told.after.images


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"store": "/media"}, "store is '/media'; name a folder below the pipeline's own"),
        ({"store": "../media"}, "below the pipeline's own"),
        ({"allow_networks": ["intranet"]}, "allow_networks has 'intranet', which is no network"),
        ({"per_second": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        FetchImages.Config(**settings)


def test_nothing_is_fetched_unless_a_pipeline_says_so(corpus):
    base, server = corpus
    made = pipeline().model_dump(mode="json")
    made["operations"] = [{"name": "image_rules"}]
    run(Pipeline.model_validate(made), base / "out", base=base, engine="process")
    assert not server.asked and not (base / "media").exists()
    assert json.loads((base / "out/funnel.json").read_text())["operations"][-1]["kept"] == 5

"""InfiMM-WebMath's cascade as a pipeline: pages in, records with two lists out."""

from __future__ import annotations

import gzip

import pytest

import web_archives
from vitrail.cli.main import main
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run
from vitrail.curation.text_classifier import TextClassifier
from vitrail.data.readers import open_source

MATHS = (
    "We solve the equation and find its root. By the theorem the sum converges, so the proof is complete. "
    'Therefore <span class="katex"><math><annotation encoding="application/x-tex">x^2 = {n}</annotation></math></span> '
    '<img src="https://e.org/plot{n}.png"> is the solution of the equation.'
)
PROSE = "The garden by the river is quiet and the bread is fresh. We sing a song on the road number {n} and it ends."


def crawl(folder):
    """Pages 0 to 5 about mathematics, 6 to 11 about nothing, and page 0 twice more."""
    folder.mkdir()
    texts = [MATHS.format(n=n) if n < 6 else PROSE.format(n=n) for n in [*range(12), 0, 0]]
    pages = [f"<html><body><p>{text}</p></body></html>" for text in texts]
    records = [web_archives.record(f"{number}", page) for number, page in enumerate(pages)]
    (folder / "0.warc.gz").write_bytes(b"".join(gzip.compress(one, mtime=0) for one in records))


@pytest.fixture
def base(tmp_path):
    crawl(tmp_path / "crawl")
    positives = [MATHS.format(n=n) for n in range(20)]
    TextClassifier.fit(positives, [PROSE.format(n=n) for n in range(20)], buckets=4096).save(
        tmp_path / "model"
    )
    return tmp_path


def ran(base, out, *operations):
    pipeline = Pipeline.model_validate(
        {
            "input": {"name": "warc", "files": ["crawl"]},
            "operations": ["extract_math", *operations],
            "output": {"layout": "webmath", "by_language": False},
        }
    )
    return run(pipeline, base / out, base=base, engine="process")


def test_pages_become_records_and_exact_duplicates_may_go_before_or_after_the_classifier(base):
    classify = {"name": "text_class", "model": str(base / "model"), "threshold": 0.5}
    first = ran(base, "first", "join_texts", classify, "exact_duplicates", "image_addresses")
    second = ran(base, "second", "join_texts", "exact_duplicates", classify, "image_addresses")
    found = [list(open_source(base / out / "data")) for out in ("first", "second")]
    assert found[0] == found[1] and len(found[0]) == 6
    assert [part.type for part in found[0][0].content] == ["text", "image", "text"]
    assert found[0][0].content[0].text.endswith("Therefore $x^2 = 0$") and found[0][0].meta["math_prob"] > 0.5
    names = {one.name: one for one in first.counts}
    assert names["exact_duplicates"].seen == 8 and names["text_class"].dropped == {"of another class": 6}
    assert next(one for one in second.counts if one.name == "text_class").seen == 12


def test_a_classifier_is_learnt_from_files(base, capsys):
    for name, text in (("yes", MATHS), ("no", PROSE)):
        (base / f"{name}.txt").write_text("".join(text.format(n=n) + "\n" for n in range(9)))
    command = ["data", "classifier", str(base / "yes.txt"), str(base / "no.txt"), str(base / "made")]
    assert main(command) == 0 and "9 positives and 9 negatives" in capsys.readouterr().out
    assert (TextClassifier.load(base / "made").predict_proba([MATHS, PROSE]) > 0.5).tolist() == [True, False]
    assert main(command) != 0 and "is there already" in capsys.readouterr().err

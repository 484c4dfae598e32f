"""The joint filter embeds many documents together: full batches, bounded memory, the same decisions and bytes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import dual_encoders
from conftest import picture
from vitrail.curation.operations.relevance import RankRelevance
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run
from vitrail.data.records import Document, Image, Text
from vitrail.models.experts.clip_scorer import ClipScorer


@pytest.fixture(scope="module")
def scorer():
    model, images, tokenizer = dual_encoders.build("siglip")
    return ClipScorer(model, SimpleNamespace(image_processor=images, tokenizer=tokenizer), batch_size=8)


def documents(n: int = 30) -> list[Document]:
    """Pages of one to three pictures. A picture and a text that every third page has: equal scores everywhere."""
    found = []
    for number in range(n):
        parts = [picture(number * 10 + i, (20, 20 + i)) for i in range(number % 3 + 1)]
        texts = [Text(text=f"page {number} tells of thing {i} " * (i + 1)) for i in range(number % 2 + 1)]
        if number % 3 == 0:
            parts, texts = (
                [*parts, picture(7, (24, 24))],
                [*texts, Text(text="the same footer on every page")],
            )
        found.append(Document(id=str(number), content=(*parts, *texts)))
    broken = Document(id="broken", content=(Text(text="a text"), Image(bytes=b"no picture")))
    return [*found, broken, Document(id="text", content=(Text(text="alone"),))]


def relevance(scorer, **config):
    return RankRelevance(RankRelevance.Config(encoder="given", n_negatives=15, top_k=2, **config), scorer)


class Counted:
    """A scorer that tells how it was asked."""

    def __init__(self, scorer):
        self._scorer, self.pictures, self.texts, self.batch_size = scorer, [], [], scorer.batch_size

    def embed_images(self, images):
        self.pictures.append(len(images))
        return self._scorer.embed_images(images)

    def embed_texts(self, texts):
        self.texts.append(list(texts))
        return self._scorer.embed_texts(texts)


def test_batches_are_full_and_sketches_are_those_of_each_document_alone(scorer):
    given, counted = documents(), Counted(scorer)
    together = relevance(counted).sketches(given)
    n = sum(len(one.images) for one in given) - 1
    assert counted.pictures == [8] * (n // 8) + [n % 8] * (n % 8 > 0)
    (read,) = counted.texts
    assert len(read) == len(set(read)) and sorted(read, key=len, reverse=True) == read and "alone" not in read
    for one, alone in zip(together, map(relevance(scorer).sketch, given), strict=True):
        assert {k: v for k, v in one.items() if k not in ("texts", "images")} == {
            k: v for k, v in alone.items() if k not in ("texts", "images")
        }
        for name in ("texts", "images"):
            a, b = (np.frombuffer(sketch[name], dtype="<f4") for sketch in (one, alone))
            assert a.shape == b.shape and (not a.size or np.abs(a - b).max() < 1e-6)
    assert together[-2]["readable"] == [] and together[-2]["texts"] == b""


def test_large_pictures_do_not_wait_for_a_full_batch(scorer, monkeypatch):
    from vitrail.curation.operations import relevance as module

    monkeypatch.setattr(module, "_HELD_PIXELS", 1000)
    counted = Counted(scorer)
    relevance(counted).sketches(documents(12))
    assert max(counted.pictures) <= 3


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_decisions_do_not_depend_on_who_was_embedded_with_whom(scorer, noise):
    """Even where last digits differ and scores are equal: a repeated picture is a tie with itself, never a loss."""
    given = documents()
    wanted = relevance(scorer).decide([relevance(scorer).sketch(one) for one in given])
    draw = np.random.default_rng(0)
    for size in (1, 4, 64):
        operation = relevance(scorer)
        sketches = [
            one
            for start in range(0, len(given), size)
            for one in operation.sketches(given[start : start + size])
        ]
        for sketch in sketches:
            for name in ("texts", "images"):
                vectors = np.frombuffer(sketch[name], dtype="<f4")
                moved = vectors + draw.uniform(-noise, noise, vectors.shape).astype(np.float32)
                sketch[name] = moved.astype("<f4").tobytes()
        assert operation.decide(sketches) == wanted


def test_a_run_writes_the_same_bytes_however_many_are_sketched_together(tmp_path, monkeypatch):
    dual_encoders.save("siglip", tmp_path / "encoder")
    given = documents(40)
    (tmp_path / "a.jsonl").write_text("".join(one.model_dump_json(exclude_none=True) + "\n" for one in given))
    operations = [{"name": "relevance", "encoder": str(tmp_path / "encoder"), "n_negatives": 15, "top_k": 2}]
    pipeline = Pipeline.model_validate(
        {"input": {"name": "records", "files": ["a.jsonl"]}, "operations": operations}
    )
    written = []
    for number, together in enumerate((1, 7, 64)):
        monkeypatch.setattr(RankRelevance, "sketched_together", together)
        ran = run(pipeline, tmp_path / str(number), base=tmp_path, engine="process")
        written.append([path.read_bytes() for path in ran.files])
        removed = json.loads((tmp_path / f"{number}/funnel.json").read_text())["operations"][1][
            "parts_removed"
        ]
    assert written[0] == written[1] == written[2] and removed

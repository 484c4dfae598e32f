"""Operations over a corpus: duplicates, pictures that are there too often, relevance by rank."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from vitrail.curation.operations.duplicates import ExactDuplicates, NearDuplicates, RepeatedTexts
from vitrail.curation.operations.images import ImageRules, RepeatedImages
from vitrail.curation.operations.operation import CorpusOperation, Operation
from vitrail.curation.operations.relevance import RankRelevance, in_top
from vitrail.data.records import Document, Image, Text


def document(*parts, language="eng_Latn"):
    content = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    return Document(id="d", content=content, meta={"language": language})


def outcomes(operation: CorpusOperation, documents):
    sketches = [operation.sketch(one) for one in documents]
    decisions = operation.decide(sketches)
    return [
        operation.apply(one, decisions[place]) if place in decisions else None
        for place, one in enumerate(documents)
    ]


def picture(seed: int, size=(200, 200), **save) -> bytes:
    draw = random.Random(seed)
    image = PILImage.new("RGB", size, "white")
    for _ in range(6):
        x, y = draw.randrange(size[0]), draw.randrange(size[1])
        ImageDraw.Draw(image).rectangle(
            [x, y, x + 60, y + 60], fill=tuple(draw.randrange(256) for _ in range(3))
        )
    out = io.BytesIO()
    image.save(out, **{"format": "PNG", **save})
    return out.getvalue()


def test_texts_repeated_in_a_document():
    outcome = RepeatedTexts()(
        document("a long enough sentence here", "other", "a long enough sentence hera", "other")
    )
    assert [part.text for part in outcome.document.content] == ["a long enough sentence here", "other"]
    assert outcome.removed == {"nearly repeated text": 1, "repeated text": 1}
    assert RepeatedTexts()(document("abc", "abd")).document.content[1].text == "abd"


def test_equal_documents_of_a_language_go_but_the_first():
    documents = [document("A  b"), document("a b"), document("a b", language="fra_Latn"), document("c")]
    found = outcomes(ExactDuplicates(), documents)
    assert [one and one.reason for one in found] == [None, "exact duplicate", None, None]


def _words(source: random.Random, n: int) -> list[str]:
    return ["".join(source.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(7)) for _ in range(n)]


def test_recall_of_near_duplicates_on_planted_pairs():
    """Pairs that share n-grams at a Jaccard of 0.8 or a little more are found; those at 0.5 or less stay."""
    from vitrail.curation.operations.duplicates import character_ngrams

    source = random.Random(5)
    documents, alike = [], []
    for number in range(120):
        words = _words(source, 100)
        share = 0.10 if number % 2 else 0.40
        other = [_words(source, 1)[0] if source.random() < share else word for word in words]
        one, two = (character_ngrams(" ".join(some), (4, 5)) for some in (words, other))
        documents += [document(" ".join(words)), document(" ".join(other))]
        alike.append(len(one & two) / len(one | two))
    found = outcomes(NearDuplicates(), documents)
    gone = [one is not None for one in found[1::2]]
    assert not any(found[::2])
    close = [went for went, jaccard in zip(gone, alike, strict=True) if jaccard >= 0.8]
    far = [went for went, jaccard in zip(gone, alike, strict=True) if jaccard <= 0.5]
    assert len(close) > 30 and np.mean(close) >= 0.95
    assert len(far) > 30 and not any(far)


def test_near_duplicates_without_text_and_in_another_language_stay():
    same = "quite a number of words that are all the same"
    documents = [document(Image(url="http://e.org/a")), document(Image(url="http://e.org/b")), document(same)]
    found = outcomes(NearDuplicates(), [*documents, document(same, language="deu_Latn"), document(same)])
    assert [one is not None for one in found] == [False] * 4 + [True]


@pytest.mark.parametrize(
    "image, reason",
    [
        (Image(url="http://e.org/photo.png"), None),
        (Image(url="http://e.org/photo.png", width=150, height=450), None),
        (Image(url="http://e.org/photo.png", width=149, height=200), "too small"),
        (Image(url="http://e.org/photo.png", width=150, height=451), "proportions"),
        (Image(url="http://e.org/LOGO/photo.png"), "address"),
        (Image(url="http://e.org/a/Twitter.png?x"), "file name"),
        (Image(url="http://twitter.com/photo.png"), None),
        (Image(bytes=b"no picture"), "cannot be decoded"),
        (Image(bytes=picture(0, (150, 160))), None),
        (Image(bytes=picture(0, (100, 160))), "too small"),
    ],
)
def test_rules_of_pictures(image, reason):
    assert ImageRules().why_not(image) == reason


def test_the_eleventh_occurrence_in_a_language_goes():
    one = Image(url="http://e.org/a.png")
    documents = [document("t", one) for _ in range(11)] + [document("t", one, language="fra_Latn")]
    found = outcomes(RepeatedImages(), documents)
    assert found[:10] == [None] * 10 and found[11] is None
    assert found[10].removed == {"repeated in language": 1} and len(found[10].document.content) == 1


def test_pictures_repeated_in_a_document_and_of_benchmarks(tmp_path):
    raw, other = picture(1), picture(2)
    small = io.BytesIO()
    PILImage.open(io.BytesIO(raw)).resize((160, 160)).save(small, "JPEG", quality=90)
    operation = RepeatedImages()
    (tmp_path / "hashes").write_text((operation.hash(Image(bytes=other)) or "") + "\n")
    operation = RepeatedImages(RepeatedImages.Config(benchmarks=str(tmp_path / "hashes")))
    parts = ["t", Image(bytes=raw), Image(bytes=small.getvalue()), Image(bytes=other), Image(bytes=b"broken")]
    (found,) = outcomes(operation, [document(*parts)])
    assert found.removed == {"repeated in document": 1, "benchmark picture": 1}
    assert [part.type for part in found.document.content] == ["text", "image", "image"]


class Vectors:
    """A dual encoder whose embeddings are drawn for each text and picture anew, or named by the text."""

    fingerprint = "vectors"

    def __init__(self, dim=32):
        self.random = np.random.default_rng(3)
        self.dim = dim

    def _unit(self, n):
        drawn = self.random.standard_normal((n, self.dim)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def embed_texts(self, texts):
        return self._unit(len(texts))

    def embed_images(self, images):
        return self._unit(len(images))


def relevance(scorer, **config):
    return RankRelevance(RankRelevance.Config(encoder="none", **config), scorer)


@pytest.mark.parametrize("images", [1, 3])
def test_at_random_a_text_stays_as_often_as_the_ranks_say(images):
    operation = relevance(Vectors())
    n = 1000
    sketches = [
        {
            "language": "x", "lengths": [10], "readable": list(range(images)),
            "texts": operation.scorer.embed_texts([0]).tobytes(),
            "images": operation.scorer.embed_images(range(images)).tobytes(),
        }
        for _ in range(n)
    ]  # fmt: skip
    decisions = operation.decide(sketches)
    kept = np.mean([len(decision["texts"]) for decision in decisions.values()])
    wanted = 1 - (1 - 8 / 64) ** images
    assert len(decisions) == n and abs(kept - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / n)
    pictures = np.mean([len(decision["images"]) / images for decision in decisions.values()])
    assert abs(pictures - 8 / 64) < 4 * np.sqrt(8 / 64 * 56 / 64 / n)


def test_a_matching_pair_stays_and_ties_count_for_it():
    scores, negatives = np.array([1.0, 0.5, 0.5]), np.array([[1.0] * 63, [0.5] * 63, [0.6] * 8 + [0.1] * 55])
    assert in_top(scores, negatives, 8).tolist() == [True, True, False]
    assert in_top(np.exp(3 * scores), np.exp(3 * negatives), 8).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="top_k is 65, with 63 negatives; take 1 to 64"):
        in_top(scores, negatives, 65)
    with pytest.raises(ValueError, match="not finite"):
        in_top(np.array([np.nan]), negatives[:1], 8)


def test_planted_foreign_parts_go_and_their_own_stay():
    class Topics(Vectors):
        def embed_texts(self, texts):
            return np.stack([self._topic(text.split()[0]) for text in texts])

        def embed_images(self, images):
            return np.stack([self._topic(f"t{image.getpixel((0, 0))[0]}") for image in images])

        def _topic(self, name):
            vector = np.random.default_rng(int(name[1:])).standard_normal(self.dim).astype(np.float32)
            return vector / np.linalg.norm(vector)

    def colour(n):
        out = io.BytesIO()
        PILImage.new("RGB", (8, 8), (n, 0, 0)).save(out, "PNG")
        return Image(bytes=out.getvalue())

    documents = [document(f"t{n} words", colour(n), f"t{n + 100} far") for n in range(12)]
    operation = relevance(Topics(), n_negatives=10, top_k=1)
    found = outcomes(
        operation, [*documents, document("t1 no picture"), document("t2", Image(url="http://e.org/a"))]
    )
    assert all(one.document.content[0].text == f"t{n} words" for n, one in enumerate(found[:12]))
    assert (
        sum(len(one.document.content) == 2 for one in found[:12]) >= 9
    )  # a foreign one ranks first once in eleven
    assert found[12:] == [None, None]


def test_too_few_negatives_are_refused():
    operation = relevance(Vectors())
    sketch = {
        "language": "x", "lengths": [3], "readable": [0], "texts": operation.scorer.embed_texts([0]).tobytes(),
        "images": operation.scorer.embed_images([0]).tobytes(),
    }  # fmt: skip
    with pytest.raises(ValueError, match="give 2 negatives, and n_negatives is 63"):
        operation.decide([sketch] * 3)
    with pytest.raises(ValueError, match="top_k is 9"):
        RankRelevance.Config(encoder="x", n_negatives=7, top_k=9)


def test_every_operation_is_registered_and_has_a_frozen_config():
    from vitrail import registry

    for name in registry.names("operation"):
        operation = registry.get("operation", name)
        assert issubclass(operation, Operation) and operation.__doc__
        assert operation.Config.model_config["frozen"] and operation.Config.model_config["extra"] == "forbid"

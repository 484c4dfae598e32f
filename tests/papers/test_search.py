"""Search finds what a person means: by words, and by meaning where the sentence encoder is installed."""

import math
import re
from collections import Counter

import pytest

from catalogue_files import planned, write
from vitrail.papers import meaning, read, search

ASKED = {
    "reduce visual tokens": {"gsearch", "gamma_mod", "aim", "ee_mllm"},
    "fewer hallucinations": {"rlaif_v", "promac"},
    "train with less memory": {"sltrain"},
    "questions about videos": {"video_mme", "video_ccam", "tc_llava", "t2vid"},
    "find a small detail in a big picture": {"vicrop", "mini_monkey", "s2"},
    "languages of Africa with little text": {"afrolm", "lem"},
    "was this text in the training data": {"min_k"},
    "teach robots": {"robofume", "lid"},
    "X-ray and other medical images": {"libra", "semihvision", "med_mat"},
    "how should the learning rate go when pretraining continues": {"infinite_lr"},
    "screenshot of a page to HTML": {"web2code"},
    "is this face faked": {"x2dfd"},
}
"""What a person types → papers of which one must be among the first three."""


@pytest.fixture
def few(tmp_path):
    texts = {
        "crop": "It crops the picture where attention looks.",
        "prune": "It drops visual tokens in early layers, so fewer tokens are read.",
        "rate": "The learning rate stays constant and is cooled at the end.",
    }
    return read(write(tmp_path, *(planned(id, about=text, changes=text) for id, text in texts.items())))


@pytest.mark.parametrize(
    ("query", "first"),
    [("visual token", "prune"), ("cropping pictures", "crop"), ("Learning-rate schedule", "rate")],
)
def test_by_words(few, query, first):
    assert search.by_words(query, few)[0][0] == first


def test_by_words_is_bm25(few):
    """Against the formula written out plainly."""
    documents = {id: search.terms(search._whole(one)) for id, one in few.items()}
    mean = sum(map(len, documents.values())) / len(documents)
    for id, score in search.by_words("tokens of the picture", few):
        expected = 0.0
        for term in ("token", "pictur"):
            n = sum(term in document for document in documents.values())
            f = Counter(documents[id])[term]
            idf = math.log((len(documents) - n + 0.5) / (n + 0.5) + 1)
            expected += idf * f * 2.5 / (f + 1.5 * (1 - 0.75 + 0.75 * len(documents[id]) / mean))
        assert score == pytest.approx(expected)


def test_no_word_in_the_query(few):
    with pytest.raises(ValueError, match="has no word to look for"):
        search.by_words("of the ?!", few)
    assert search.by_words("zebra", few) == []


def test_by_meaning_ranks_by_the_nearest_passage(few):
    import numpy as np

    axes = {"crop": 0, "drop": 1, "rate": 2, "fewer": 1}

    def encode(texts):
        rows = np.full((len(texts), 4), 0.01, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word, axis in axes.items():
                row[axis] += bool(re.search(word, text))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    vectors = encode([text for one in few.values() for text in search.passages(one)])
    ranked = search.by_meaning("fewer of them", few, vectors, encode)
    assert ranked[0][0] == "prune" and len(ranked) == 3


def test_without_the_encoder_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(meaning.importlib.util, "find_spec", lambda name: None)
    meaning._load.cache_clear()
    with pytest.raises(ImportError, match=re.escape("pip install 'vitrail[search]'")):
        meaning.encode(["x"])


needs_encoder = pytest.mark.skipif(meaning.folder() is None, reason="needs vitrail[search]")


@needs_encoder
def test_a_text_has_one_vector_whatever_stands_beside_it():
    import numpy as np

    alone = meaning.encode(["a short one"])
    beside = meaning.encode(["a short one", "a much longer text " * 30])
    assert np.array_equal(alone[0], beside[0]) and np.allclose(np.linalg.norm(beside, axis=1), 1, atol=1e-6)
    near, far = meaning.encode(["a brief text", "gamma rays from a star"])
    assert alone[0] @ near > alone[0] @ far + 0.2


@needs_encoder
def test_what_people_mean_is_found(shared_cache):
    from vitrail.cli.papers import find

    papers = read()
    missed = {}
    for query, wanted in ASKED.items():
        ranked, how = find(query, papers)
        assert "by meaning" in how
        first = [id for id, _ in ranked[:3]]
        if not wanted & set(first):
            missed[query] = first
    assert missed == {}

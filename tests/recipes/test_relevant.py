"""Documents of a recipe without foreign parts: by rank, by threshold, and the control at random."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from vitrail.data.scenes import suite
from vitrail.recipes import loading, relevant
from vitrail.recipes.sources import open_data

PAGES = 16


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A file of pages with foreign parts, and of every picture that belongs the caption beside it."""
    made, path = suite("nano-scenes-v1"), tmp_path_factory.mktemp("pages") / "pages.jsonl"
    mixed = made.documents("train", 0, PAGES, "known", foreign=0.35)
    path.write_text("".join(page.model_dump_json(exclude_none=True) + "\n" for page in mixed))
    clean = [
        part for page in made.documents("train", 0, PAGES, "known", foreign=0.0) for part in page.content
    ]
    return path, {image.bytes: text.text for image, text in zip(clean[::2], clean[1::2], strict=True)}


class Words:
    """A dual encoder that knows the truth: a picture's vector is that of the caption that was written for it."""

    fingerprint = "words"

    def __init__(self, source, known):
        self.known = known
        self.seen = [part.bytes for page in source for part in page.content if part.type == "image"]

    def embed_texts(self, texts):
        return np.stack([_vector(text) for text in texts])

    def embed_images(self, images):
        found, self.seen = self.seen[: len(images)], self.seen[len(images) :]
        return np.stack([_vector(self.known.get(raw, str(raw[-40:]))) for raw in found])


def _vector(text):
    drawn = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(32).astype(np.float32)
    return drawn / np.linalg.norm(drawn)


@pytest.fixture
def recipe(composed):
    def made(**settings):
        read = {"kind": "relevant", "source": "pages", "encoder": "none", "n_negatives": 15, "top_k": 1}
        data = {"pages": {"kind": "file", "path": str(composed[0])}, "read": {**read, **settings}}
        return loading.load({"name": "relevant", "model": {"testbed": "nano"}, "data": data})

    return made


@pytest.fixture
def knowing(monkeypatch, composed, recipe):
    from vitrail.models.experts.clip_scorer import ClipScorer

    def opened(path):
        assert path == "none"
        return Words(open_data(recipe(), "pages", "conversations"), composed[1])

    monkeypatch.setattr(ClipScorer, "from_pretrained", opened)


def test_foreign_parts_are_known_and_all_else_is_the_same():
    made = suite("nano-scenes-v1")
    clean, mixed = (made.documents("train", 3, 30, "known", foreign=share) for share in (0.0, 0.35))
    assert clean.fingerprint != mixed.fingerprint
    foreign = parts = 0
    for one, other in zip(clean, mixed, strict=True):
        assert one.meta["foreign"] == [] and [p.type for p in other.content] == ["image", "text"] * (
            len(other.content) // 2
        )
        changed = [n for n, (a, b) in enumerate(zip(one.content, other.content, strict=True)) if a != b]
        assert set(changed) <= set(other.meta["foreign"])
        foreign, parts = foreign + len(other.meta["foreign"]), parts + len(other.content)
    assert abs(foreign / parts - 0.35) < 4 * (0.35 * 0.65 / parts) ** 0.5
    with pytest.raises(ValueError, match="foreign is 2; give a share"):
        made.documents("train", 0, 4, "known", foreign=2)


def test_what_belongs_stays_and_what_is_foreign_goes(knowing, recipe):
    from vitrail.studies.moscar import figures

    opened = recipe()
    source = open_data(opened, "pages", "conversations")
    found = figures(source, relevant.decided(opened.data["read"], source, 0))
    assert found["precision"] == 1.0 and found["recall"] > 0.7
    pages = open_data(opened, "read", "conversations")
    assert 0 < len(pages) <= PAGES and pages.fingerprint != source.fingerprint
    for place, page in zip(pages.rows, pages, strict=True):
        assert all(part in source[place].content for part in page.content)


def test_the_control_holds_as_many_texts_in_whole_documents(knowing, recipe):
    def texts(source):
        return sum(part.type == "text" for page in source for part in page.content)

    kept = open_data(recipe(), "read", "conversations")
    drawn = open_data(recipe(by="random"), "read", "conversations")
    whole = list(open_data(recipe(), "pages", "conversations"))
    assert 0 <= texts(drawn) - texts(kept) < 4
    assert all(page in whole for page in drawn)
    again = open_data(recipe(by="random", seed=1), "read", "conversations")
    assert [page.id for page in again] != [page.id for page in drawn]


def test_a_fixed_threshold(knowing, recipe):
    everything = open_data(recipe(by="threshold", threshold=-1.0), "read", "conversations")
    source = open_data(recipe(), "pages", "conversations")
    assert list(everything) == list(source)
    with pytest.raises(ValueError, match="no document has a text left; lower the threshold"):
        relevant.RelevantParts(source, {n: {"texts": [], "images": []} for n in range(PAGES)}, "read")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"top_k": 17}, r"data\.read\.top_k: a pair is ranked among 16; lower it"),
        ({"by": "threshold"}, r"data\.read\.threshold: by: threshold needs one"),
        ({"threshold": 0.2}, r"data\.read\.threshold: it has no effect"),
        ({"source": "pagse"}, r"data\.read\.source: .*did you mean 'pages'"),
        ({"source": "read"}, "it contains itself: read → read"),
        ({"encoder": {}}, "named by path or by recipe"),
    ],
)
def test_settings_that_do_not_fit(settings, message, recipe):
    with pytest.raises(ValueError, match=message):
        recipe(**settings)


def test_records_that_are_no_documents_and_too_few_negatives(knowing, recipe):
    with pytest.raises(ValueError, match=r"data\.read: other documents of its language give \d+ negatives"):
        open_data(recipe(n_negatives=400), "read", "conversations")
    made = recipe()
    chats = {
        **loading.plain(made),
        "data": {**loading.plain(made)["data"], "pages": {"kind": "scenes", "n": 2}},
    }
    with pytest.raises(ValueError, match=r"record 0 of 'pages' is a chat, and parts are judged in documents"):
        open_data(loading.load(chats), "read", "conversations")

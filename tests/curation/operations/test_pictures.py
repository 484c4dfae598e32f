"""Unsafe pictures, faces, and which documents are trained on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PILImage

from vitrail.curation.operations.faces import Faces
from vitrail.curation.operations.training_documents import MostImages, SingleImage
from vitrail.curation.operations.unsafe_images import UnsafeImages
from vitrail.data.records import Document, Image, Text
from vitrail.models.experts.boxes import FoundBox


def picture(red: int, size=(512, 256), kind="PNG") -> Image:
    rng = np.random.default_rng(red)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    pixels[0, 0] = (red, 0, 0)
    out = io.BytesIO()
    PILImage.fromarray(pixels).save(out, kind)
    return Image(bytes=out.getvalue())


def document(*parts, **more) -> Document:
    content = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    return Document(**{"id": "d", "content": content, **more})


class ByColour:
    """A classifier whose probabilities are named by the first pixel: red / 100, half porn and half hentai."""

    fingerprint = "by colour"

    def labels(self, pictures):
        shares = [picture.getpixel((0, 0))[0] / 200 for picture in pictures]
        return [{"porn": share, "hentai": share, "neutral": 1 - 2 * share} for share in shares]


class Found:
    """A detector that finds the same in every picture, and remembers the sizes that it saw."""

    fingerprint = "found"

    def __init__(self, *boxes):
        self.found, self.sizes = list(boxes), []

    def boxes(self, pictures):
        self.sizes += [picture.size for picture in pictures]
        return [self.found for _ in pictures]


def unsafe(*boxes, **settings):
    config = UnsafeImages.Config(**{"labels": ("porn", "hentai"), **settings})
    return UnsafeImages(config, ByColour(), Found(*boxes))


BREAST, BELLY = ("FEMALE_BREAST_EXPOSED", (0.0, 0.0, 9.0, 9.0)), ("BELLY_COVERED", (0.0, 0.0, 9.0, 9.0))


@pytest.mark.parametrize(
    "red, label, score, stays",
    [(81, BREAST, 0.51, False), (80, BREAST, 0.51, True), (99, BREAST, 0.5, True), (99, BELLY, 0.9, True)],
)
def test_a_suspect_picture_needs_to_be_confirmed_and_takes_its_document_along(red, label, score, stays):
    operation = unsafe(FoundBox(label[0], score, label[1]))
    outcome = operation(document("words", picture(10), picture(red)))
    assert (outcome.document is not None) == stays and outcome.reason == ("" if stays else "unsafe picture")


def test_another_filter_without_a_detector():
    operation = unsafe(detector=None, threshold=0.4, labels=("hentai",), reason="abuse")
    operation._detector = None
    assert operation(document(picture(79))).document is not None
    assert operation(document(picture(81))).reason == "abuse"
    assert operation.fingerprint() == {"classifier": "by colour", "detector": None}


def test_pictures_that_are_not_at_hand_stay_or_go():
    there, broken = Image(url="http://e.org/a.png"), Image(bytes=b"no picture")
    assert unsafe()(document("t", there, broken)).document is not None
    outcome = unsafe(unjudged="remove")(document("t", there, broken, picture(1)))
    assert outcome.removed == {"cannot be judged": 2} and len(outcome.document.content) == 2


def test_a_label_that_the_classifier_does_not_have():
    with pytest.raises(ValueError, match=r"labels has 'pron', which open_nsfw does not tell; did you mean"):
        unsafe(labels=("pron",))(document(picture(1)))


FACE = FoundBox("FACE_MALE", 0.9, (10.0, 20.0, 40.0, 60.0))


def test_faces_are_told_in_the_pictures_own_pixels():
    small = (0.0, 0.0, 9.0, 9.0)
    detector = Found(FACE, FoundBox("FACE_FEMALE", 0.4, small), FoundBox("FEET_EXPOSED", 0.9, small))
    before = document("t", Image(url="http://e.org/a.png"), picture(1), meta={"url": "u"})
    outcome = Faces(detector=detector)(before)
    assert detector.sizes == [(256, 128)]
    assert outcome.document.meta == {
        "url": "u", "faces": [{"image": 1, "box": [20, 40, 80, 120], "score": 0.9}]
    }  # fmt: skip
    assert outcome.document.content == before.content and outcome.changed
    assert Faces(Faces.Config(min_score=0.99), Found(FACE))(before).document is before


@pytest.mark.parametrize("hide", ["blur", "fill"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_hidden_faces_cannot_be_seen_and_all_else_stays(hide, kind):
    operation = Faces(Faces.Config(hide=hide), Found(FACE))
    before = picture(5, kind=kind)
    after = operation(document("t", before)).document.images[0]
    assert after.bytes[:2] == before.bytes[:2] and (after.width, after.height) == (512, 256)
    old, new = (np.asarray(one.open()).astype(float) for one in (before, after))
    inside = new[40:120, 20:80]
    assert inside.std() < 0.3 * old[40:120, 20:80].std()
    if hide == "blur":
        assert np.corrcoef(inside.ravel(), old[40:120, 20:80].ravel())[0, 1] < 0.3
    if kind == "PNG":
        assert (new[140:] == old[140:]).all() and (new[:, 100:] == old[:, 100:]).all()
    assert operation(document("t", before)).document.images[0].bytes == after.bytes


def test_a_face_at_the_edge_stays_inside_the_picture():
    edge = FoundBox("face", 0.9, (-5.0, -5.0, 300.0, 300.0))
    operation = Faces(Faces.Config(hide="fill"), Found(edge))
    outcome = operation(document(picture(3)))
    assert outcome.document.meta["faces"][0]["box"] == [0, 0, 512, 256]


def test_two_thirds_of_the_documents_with_one_picture_go():
    operation, one = SingleImage(), Image(url="http://e.org/a.png")
    outcomes = [operation(document("t", one, id=f"d{n}")) for n in range(900)]
    gone = sum(outcome.document is None for outcome in outcomes)
    assert abs(gone - 600) < 4 * (900 * 2 / 9) ** 0.5
    assert [o.reason for o in outcomes] == [
        operation(document("t", one, id=f"d{n}")).reason for n in range(900)
    ]
    assert (
        operation(document("t", one, one)).document is not None
        and operation(document("t")).document is not None
    )
    assert SingleImage(SingleImage.Config(reject=1.0))(document("t", one)).reason == "a single picture"


def test_a_document_ends_before_one_picture_too_many():
    images = [Image(url=f"http://e.org/{n}.png") for n in range(3)]
    parts = [part for n, image in enumerate(images) for part in (f"t{n}", image)]
    outcome = MostImages(MostImages.Config(images=2))(document(*parts, "end"))
    assert [part.type for part in outcome.document.content] == ["text", "image", "text", "image", "text"]
    assert outcome.removed == {"after the last picture": 2}

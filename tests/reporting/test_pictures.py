import base64
import io

import numpy as np
import pytest
from PIL import Image as PILImage

from vitrail.reporting.pictures import Shape, box, embed, outline


def encoded(width, height, format="PNG", mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels, mode).save(buffer, format)
    return buffer.getvalue()


def decoded(picture):
    return PILImage.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))


def test_small_pictures_are_embedded_as_they_are():
    raw = encoded(60, 40)
    picture = embed(raw, "noise")
    assert picture.uri == "data:image/png;base64," + base64.b64encode(raw).decode()
    assert (picture.width, picture.height) == (60, 40)


@pytest.mark.parametrize("format, mode", [("PNG", "RGB"), ("PNG", "RGBA"), ("BMP", "RGB"), ("JPEG", "RGB")])
def test_large_and_rare_pictures_are_shrunk_and_encoded_anew(format, mode):
    picture = embed(encoded(800, 500, format, mode), "noise")
    assert picture.uri.startswith("data:image/webp") and decoded(picture).size == (320, 200)
    assert (picture.width, picture.height) == (800, 500)
    assert embed(encoded(20, 20, "BMP"), "noise").uri.startswith("data:image/webp")
    assert len(picture.uri) < 130_000


def test_pillow_pictures_are_taken_too():
    assert decoded(embed(PILImage.new("L", (400, 10)), "grey")).size == (320, 8)


def test_what_cannot_be_decoded_is_named():
    with pytest.raises(ValueError, match=r"'a cat'\) cannot be decoded"):
        embed(b"no picture", "a cat")
    with pytest.raises(ValueError, match="cannot be decoded"):
        embed(b"%!PS-Adobe-3.0 EPSF-3.0\n", "a script")


def test_shapes_are_drawn_in_the_pixels_of_the_original():
    shapes = [
        box(10, 20, 300, 400, "cat <1>", 1),
        Shape("dots", ((5, 6),), colour=2),
        Shape("line", ((0, 0), (9, 9))),
    ]
    html = embed(encoded(800, 500), "noise", shapes, caption="one").html()
    assert 'viewBox="0 0 800 500"' in html and 'alt="noise"' in html
    assert 'points="10.0,20.0 300.0,20.0 300.0,400.0 10.0,400.0"' in html
    assert (
        "cat &lt;1&gt;" in html
        and '<circle cx="5.0"' in html
        and '<polyline points="0.0,0.0 9.0,9.0"' in html
    )


def _inside(path, x, y):
    """Even-odd rule along a ray to the left, over the vertical pieces."""
    import re

    pieces = re.findall(r"M(\d+) (\d+)V(\d+)", path)
    return sum(int(px) <= x and int(a) <= y < int(b) for px, a, b in pieces) % 2 == 1


def test_outlines_enclose_exactly_the_mask():
    mask = np.random.default_rng(0).random((12, 17)) < 0.5
    mask[0, 0] = mask[11, 16] = True
    path = outline(mask).path
    found = np.array([[_inside(path, x, y) for x in range(17)] for y in range(12)])
    assert (found == mask).all()
    assert outline(np.zeros((3, 3), bool)).path == ""
    assert outline(mask, "m").anchor == (0.0, 0.0)

import numpy as np
import pytest

from vitrail.data.sprites import colours

# OpenMoji's palette, as a person would call it.
PALETTE = {
    "92d3f5": "blue", "61b2e4": "blue", "1e50a0": "blue", "ea5a47": "red", "d22f27": "red", "b1cc33": "green",
    "5c9e31": "green", "186648": "green", "fcea2b": "yellow", "f4aa41": "orange", "e27022": "orange",
    "ffa7c0": "pink", "b399c8": "purple", "8967aa": "purple", "a57939": "brown", "6a462f": "brown",
    "d0cfce": "gray", "9b9b9a": "gray", "3f3f3f": "black", "000000": "black", "ffffff": "white",
}  # fmt: skip


def rgb(code):
    return [int(code[i : i + 2], 16) for i in (0, 2, 4)]


@pytest.mark.parametrize(("code", "word"), PALETTE.items())
def test_words_of_a_known_palette(code, word):
    label = int(colours.words([rgb(code)])[0])
    assert label != colours.UNSURE and colours.NAMES[label] == word


@pytest.mark.parametrize("code", ["f1b31c", "dfdfdf", "40e0d0"])
def test_between_two_words_is_unsure(code):
    assert colours.words([rgb(code)])[0] == colours.UNSURE


def test_oklab_of_reference_colours():
    # Values of Ottosson's reference implementation.
    assert colours.oklab([255, 255, 255]) == pytest.approx([1, 0, 0], abs=1e-3)
    assert colours.oklab([255, 0, 0]) == pytest.approx([0.628, 0.2249, 0.1258], abs=1e-3)
    assert colours.oklab([0, 0, 255]) == pytest.approx([0.452, -0.0325, -0.3115], abs=1e-3)


def drawing(fill, share=1.0, other=(92, 158, 49)):
    """A square with black outlines, ``share`` of it filled with one colour."""
    sprite = np.zeros((96, 96, 4), np.uint8)
    sprite[8:88, 8:88] = (0, 0, 0, 255)
    sprite[11:85, 11:85, :3] = other
    sprite[11:85, 11 : 11 + int(74 * share), :3] = fill
    return sprite


def test_outlines_do_not_count_but_black_areas_do():
    assert colours.dominant(drawing((214, 48, 42))) == "red"
    assert colours.dominant(drawing((0, 0, 0))) == "black"


def test_two_colours_are_none():
    assert colours.dominant(drawing((214, 48, 42), share=0.9)) == "red"
    assert colours.dominant(drawing((214, 48, 42), share=0.55)) is None


def test_lines_alone_have_no_colour():
    sprite = np.zeros((96, 96, 4), np.uint8)
    sprite[40:43] = sprite[60:63] = sprite[:, 20:23] = (0, 0, 0, 255)
    assert colours.dominant(sprite) is None


@pytest.mark.parametrize("word", colours.NAMES)
def test_recoloured_has_the_colour(word):
    assert colours.dominant(colours.recoloured(drawing((214, 48, 42), share=0.5), word)) == word


def test_recolouring_keeps_outline_and_shape():
    sprite = drawing((214, 48, 42))
    painted = colours.recoloured(sprite, "blue")
    assert np.array_equal(painted[..., 3], sprite[..., 3])
    assert (painted[9, 8:88, :3] == 0).all()
    with pytest.raises(ValueError, match="colour is 'teal'"):
        colours.recoloured(sprite, "teal")

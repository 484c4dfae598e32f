"""Interleaved documents as OBELICS, InfiMM-WebMath and mOSCAR publish them."""

from __future__ import annotations

import json

import pytest

from vitrail.data.readers.interleaved import moscar_row, obelics_row, webmath_row
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import read_row
from vitrail.data.records import Document, Image, Text, Video

DOCUMENT = Document(
    id="d",
    content=(Text(text="a"), Image(url="http://e.org/a.png"), Text(text="b"), Image(bytes=b"\x89PNGraw")),
    meta={"url": "http://e.org", "language": "eng_Latn"},
)


@pytest.mark.parametrize(
    "write, name", [(obelics_row, "interleaved"), (webmath_row, "interleaved"), (moscar_row, "moscar")]
)
def test_a_document_written_is_read_back_equal(write, name):
    assert read_row(write(DOCUMENT)) == (DOCUMENT, name)
    with pytest.raises(FieldError, match="is a video; this layout holds texts and pictures"):
        write(Document(content=(Video(url="http://e.org/v"),)))


def test_rows_as_they_are_published():
    row = {
        "URL": "http://e.org", "text_list": ["a", None], "image_list": [None, "http://e.org/a.png"],
        "metadata": json.dumps({"ft_lang_label": "en", "math_prob": 0.9}),
    }  # fmt: skip
    webmath, name = read_row(row)
    assert name == "interleaved" and [part.type for part in webmath.content] == ["text", "image"]
    assert webmath.meta == {"url": "http://e.org", "ft_lang_label": "en", "math_prob": 0.9}
    order = "txt_#000001|img_#000002|txt_#000000"
    row = {
        "images": [{"img_idx": "#000002", "sha512": "x", "url": "http://e.org/a.png"}],
        "text": [{"text": "later", "text_idx": "#000000"}, {"text": "first", "text_idx": "#000001"}],
        "metadata": [{"node_order": order, "url": "http://e.org"}],
    }
    moscar, name = read_row(row)
    assert name == "moscar" and moscar.meta == {"url": "http://e.org"}
    assert [getattr(part, "text", "picture") for part in moscar.content] == ["first", "picture", "later"]


@pytest.mark.parametrize(
    "row, said",
    [
        ({"texts": ["a"], "images": []}, "images: has 0 places and texts 1"),
        ({"texts": ["a"], "images": ["http://e.org/a"]}, "neither is null; exactly one must be"),
        ({"texts": [None], "images": [None]}, "both are null"),
        ({"texts": [3], "images": [None]}, r"texts\[0\]: must be a text, but it is 3"),
        ({"texts": [], "images": []}, "texts: is empty"),
        (
            {"text": [], "images": [], "metadata": [{"node_order": "txt_#000000"}]},
            "names 'txt_#000000', which is no",
        ),
        (
            {"text": [{"text": "a", "text_idx": "#0"}] * 2, "metadata": [{"node_order": "txt_#0"}]},
            "is there twice",
        ),
        (
            {"text": [{"text": "a", "text_idx": "#0"}], "metadata": [{"node_order": "txt_#0|txt_#0"}]},
            "names 'txt_#0' twice",
        ),
    ],
)
def test_bad_rows_are_named(row, said):
    with pytest.raises(FieldError, match=said):
        read_row(row)

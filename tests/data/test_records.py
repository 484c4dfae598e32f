"""Records: typed content, one origin for each medium, clear refusals."""

from __future__ import annotations

import io

import pytest
from PIL import Image as PILImage
from pydantic import TypeAdapter, ValidationError

from conftest import picture
from vitrail.data.decoding import decode
from vitrail.data.records import AnyRecord, Chat, Choices, Document, Image, Region, Text, Video


def encoded(pixels: PILImage.Image, kind: str, **options) -> Image:
    buffer = io.BytesIO()
    pixels.save(buffer, kind, **options)
    return Image(bytes=buffer.getvalue())


def test_a_string_is_one_text_and_a_marker_in_it_stays_text():
    chat = Chat(messages=[{"role": "user", "content": "look: <image>"}])
    assert chat.messages[0].content == (Text(text="look: <image>"),) and chat.images == []


def test_records_survive_json():
    chat = Chat(messages=[{"role": "user", "content": [picture(1), {"type": "text", "text": "é"}]}], id="1")
    assert Chat.model_validate_json(chat.model_dump_json()) == chat
    document = Document(content=[{"type": "text", "text": "x"}])
    assert TypeAdapter(AnyRecord).validate_json(document.model_dump_json()) == document


@pytest.mark.parametrize("fields", [{}, {"path": "a.png", "url": "http://x"}])
def test_a_picture_has_exactly_one_origin(fields):
    with pytest.raises(ValidationError, match="give exactly one of"):
        Image(**fields)
    with pytest.raises(ValidationError, match="give exactly one of"):
        Video(**fields)


def test_refusals_name_what_is_wrong():
    with pytest.raises(ValidationError, match="answer is 2, but there are 2 options"):
        Choices(options=["a", "b"], answer=2)
    with pytest.raises(ValidationError, match="give exactly one of box"):
        Region(box=(0, 0, 1, 1), quad=(0,) * 8)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Chat(messages=[{"role": "user", "content": "a"}], mesages=[])
    with pytest.raises(ValueError, match="is an address, and addresses are not fetched"):
        Image(url="http://example.org/a.png").open()


def test_pictures_are_opened_as_people_see_them():
    turned = PILImage.new("RGB", (4, 2), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    assert encoded(turned, "JPEG", exif=exif).open().size == (2, 4)
    clear = encoded(PILImage.new("RGBA", (2, 2), (0, 0, 0, 0)), "PNG").open()
    assert clear.mode == "RGB" and clear.getpixel((0, 0)) == (255, 255, 255)
    deep = encoded(PILImage.new("I;16", (2, 2), 32768), "PNG").open()
    assert abs(deep.getpixel((0, 0))[0] - 128) <= 1
    assert encoded(PILImage.new("CMYK", (2, 2), (0, 255, 255, 0)), "JPEG").open().mode == "RGB"


def test_what_is_no_picture_says_so():
    with pytest.raises(ValueError, match="cannot be decoded"):
        Image(bytes=b"not a picture").open()
    whole = picture(3).read()
    with pytest.raises(ValueError, match="cannot be decoded"):
        Image(bytes=whole[: len(whole) // 2]).open()
    with pytest.raises(ValueError, match=r"has 32 × 32 pixels, more than 1,000"):
        decode(whole, max_pixels=1000)

"""Rows of pictures with captions, and the records that they are."""

from data.readers.examples.records import chat, said
from vitrail.data import records as r

CASES = {
    "caption": (
        "caption",
        {"image": {"bytes": b"x", "path": "old.png"}, "text": "a cat"},
        chat(said("user", r.Image(bytes=b"x")), said("assistant", "a cat")),
    ),
}
"""Name → format, row, record."""
BAD = [
    ({"image": "a", "text": "x", "caption": "y"}, "caption", "keep one"),
    ({"image": "a", "images": ["b"], "text": "x"}, "images", "another column of its kind"),
]
"""Row, field at fault, words of the reason."""

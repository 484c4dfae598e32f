"""Rows of LLaVA, and the records that they are."""

from data.readers.examples.records import ASKED, IMAGE, TWO, chat, said
from vitrail.data import records as r

CASES = {
    "llava": (
        "llava",
        {
            "id": "000",
            "image": "a.png",
            "conversations": [
                {"from": "human", "value": "What?\n<image>"},
                {"from": "gpt", "value": "A cat, no <image>."},
                {"from": "human", "value": "Sure?"},
                {"from": "gpt", "value": "Yes."},
            ],
        },
        chat(
            said("user", "What?", IMAGE),
            said("assistant", "A cat, no <image>."),
            said("user", "Sure?"),
            said("assistant", "Yes."),
            id="000",
        ),
    ),
    "llava interleaved": (
        "llava",
        {
            "image": ["a.png", "b.png"],
            "conversations": [
                {"from": "human", "value": "<image>\n<image>\nIs <image"},
                {"from": "gpt", "value": "x"},
            ],
        },
        chat(said("user", *TWO, "Is <image"), said("assistant", "x")),
    ),
    "llava text alone": (
        "llava",
        {"conversations": [{"from": "human", "value": "<video> tag?"}, {"from": "gpt", "value": "x"}]},
        chat(said("user", "<video> tag?"), said("assistant", "x")),
    ),
    "llava video marked as image": (
        "llava",
        {
            "video": "v.mp4",
            "conversations": [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "x"}],
        },
        chat(said("user", r.Video(path="v.mp4"), "Q"), said("assistant", "x")),
    ),
}
"""Name → format, row, record."""
BAD = [
    ({"conversations": [{"from": "human", "value": "<image>\nQ"}]}, "conversations", "the row has 0 images"),
    (
        {"conversations": [{"from": "human", "value": "Q"}], "image": "a"},
        "conversations",
        "no human turn holds",
    ),
    (
        {"conversations": [{"from": "human", "value": "<image><image>"}], "image": "a"},
        "conversations",
        "make them equal",
    ),
    ({"conversations": [{"from": "humam", "value": "Q"}]}, "conversations[0].from", "did you mean 'human'"),
    ({"conversations": [{"from": "human"}]}, "conversations[0]", "neither 'value' nor 'content'"),
    ({"conversations": [{"from": "human", "value": 3}]}, "conversations[0].value", "must be text"),
    ({"conversations": "x"}, "conversations", "must be a list"),
]
"""Row, field at fault, words of the reason."""
CANNOT_SAY = [
    ("llava", chat(said("system", "S"), ASKED), "messages[0].role"),
    ("llava", chat(ASKED, said("assistant", "x", weight=0)), "messages[1].weight"),
    ("llava", chat(said("user", IMAGE, "is <image> text?")), "messages[0].content[1]"),
]
"""Target format, record, field that has no place in it."""

"""Rows of RAP, and the records that they are."""

from data.readers.examples.records import IMAGE, chat, said
from vitrail.data import records as r

CASES = {
    "rap": (
        "rap",
        {
            "id": "7",
            "image": "a.png",
            "type": "caption",
            "conversations": [
                {"from": "human", "value": "<image>\nWho is it?"},
                {"from": "gpt", "value": "It is <bo>, no <image>."},
            ],
            "extra": {
                "b.png": {"name": "bo", "info": "<bo> is a dog.", "category": "dog"},
            },
        },
        chat(
            said(
                "user",
                IMAGE,
                "\n[1.",
                r.Image(path="b.png"),
                "\n Name: <bo>, Info: <bo> is a dog.\n]",
                "Who is it?",
            ),
            said("assistant", "It is <bo>, no <image>."),
            id="7",
            meta={"type": "caption"},
        ),
    ),
    "rap words alone": (
        "rap",
        {
            "conversations": [{"from": "human", "value": "Who is <bo>?"}, {"from": "gpt", "value": "x"}],
            "extra": {"b.png": {"name": "<bo>", "info": "a dog"}},
        },
        chat(
            said(
                "user",
                "\n[0.",
                r.Image(path="b.png"),
                "\n Name: <bo>, Info: a dog\n]",
                "Who is <bo>?",
            ),
            said("assistant", "x"),
        ),
    ),
}

_CONCEPT = {"b.png": {"name": "bo", "info": "a dog"}}
BAD = [
    ({"conversations": [{"from": "gpt", "value": "x"}], "extra": _CONCEPT}, "conversations", "no human turn"),
    (
        {"conversations": [{"from": "human", "value": "x"}], "image": ["a.png"], "extra": _CONCEPT},
        "image",
        "must be one path",
    ),
    (
        {"conversations": [{"from": "human", "value": "x"}], "extra": {"b.png": {"name": 3}}},
        "extra.b.png",
        "must be text",
    ),
]

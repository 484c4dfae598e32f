"""Rows of TRL: prompt-completion and preference, strings and messages, media beside, and the records that they are."""

from data.readers.examples.records import ASKED, PARTS, chat, said, text
from vitrail.data import records as r

CASES = {
    "trl strings": (
        "trl",
        {"prompt": "What?", "completion": "A cat.", "image": "a.png"},
        chat(ASKED, said("assistant", "A cat.")),
    ),
    "trl messages": (
        "trl",
        {
            "prompt": [{"role": "user", "content": PARTS}],
            "completion": [{"role": "assistant", "content": "A cat."}],
            "images": ["a.png"],
        },
        chat(ASKED, said("assistant", "A cat.")),
    ),
    "trl preference": (
        "trl",
        {
            "prompt": [{"role": "user", "content": PARTS}],
            "chosen": [{"role": "assistant", "content": "A cat."}],
            "rejected": [{"role": "assistant", "content": "A dog."}],
            "images": ["a.png"],
            "id": 3,
        },
        chat(ASKED, said("assistant", "A cat."), rejected=(said("assistant", "A dog."),), id="3"),
    ),
    "trl implicit prompt": (
        "trl",
        {
            "chosen": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}],
            "rejected": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A dog."}],
            "images": ["a.png"],
        },
        chat(ASKED, said("assistant", "A cat."), rejected=(said("assistant", "A dog."),)),
    ),
    "trl: a prompt's answers are not learnt": (
        "trl",
        {
            "prompt": [
                {"role": "user", "content": "1"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": "3"},
            ],
            "completion": "4",
        },
        chat(said("user", "1"), said("assistant", "2", weight=0), said("user", "3"), said("assistant", "4")),
    ),
    "trl unpaired": (
        "trl",
        {"prompt": "What?", "completion": "No.", "label": False},
        chat(said("user", "What?"), said("assistant", "No.", weight=0), meta={"label": False}),
    ),
}
"""Name → format, row, record."""
BAD = [
    ({"prompt": "a", "chosen": "b"}, "rejected", "is missing"),
    ({"prompt": "a", "completion": "b", "chosen": "c"}, "chosen", "keep one"),
    ({"chosen": "a", "rejected": "b"}, "chosen", "must be a list of messages"),
    ({"prompt": "<image> or <image>", "completion": "b", "image": "a"}, "prompt", "2 times '<image>'"),
]
"""Row, field at fault, words of the reason."""
CANNOT_SAY = [
    ("trl", chat(ASKED, said("assistant", r.Region(box=(1, 2, 3, 4)))), "messages[1].content[0]"),
    ("trl", chat(ASKED, meta={"prompt": 1}), "meta.prompt"),
    ("trl", r.Document(content=(text("x"),)), "kind"),
    ("trl", chat(said("user", r.Image(path="none.png"))), "messages[0].content[0]"),
]
"""Target format, record, field that has no place in it."""

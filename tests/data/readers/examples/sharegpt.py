"""Rows of LLaMA-Factory's sharegpt, and the records that they are."""

import json

from data.readers.examples.records import ASKED, CALL, IMAGE, chat, said
from vitrail.data import records as r

CASES = {
    "sharegpt": (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "<image>What?"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "ok"},
                {"from": "gpt", "value": "A cat."},
            ],
            "system": "S",
            "tools": "[]",
            "images": ["a.png"],
        },
        chat(
            said("system", "S"),
            ASKED,
            said("assistant", r.ToolCall(**CALL)),
            said("tool", "ok"),
            said("assistant", "A cat."),
            meta={"tools": "[]"},
        ),
    ),
    "sharegpt ranking": (
        "sharegpt",
        {
            "conversations": [{"from": "human", "value": "<image>What?"}],
            "chosen": {"from": "gpt", "value": "A cat."},
            "rejected": {"from": "gpt", "value": "A dog."},
            "images": ["a.png"],
        },
        chat(ASKED, said("assistant", "A cat."), rejected=(said("assistant", "A dog."),)),
    ),
    "sharegpt other tags": (
        "sharegpt",
        {
            "messages": [{"from": "user", "value": "What?"}, {"from": "assistant", "value": "A cat."}],
            "kto_tag": False,
        },
        chat(said("user", "What?"), said("assistant", "A cat.", weight=0), meta={"kto_tag": False}),
    ),
    "sharegpt roles": (
        "sharegpt",
        {"conversations": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]},
        chat(said("user", "1"), said("assistant", "2")),
    ),
}
"""Name → format, row, record."""
BAD = [
    (
        {"conversations": [{"from": "function_call", "value": "{"}], "tools": ""},
        "conversations[0].value",
        "no JSON",
    ),
    (
        {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "x"}},
        "rejected",
        "is missing",
    ),
]
"""Row, field at fault, words of the reason."""
CANNOT_SAY = [
    ("sharegpt", chat(ASKED, said("assistant", IMAGE)), "messages[1].content[0]"),
]
"""Target format, record, field that has no place in it."""

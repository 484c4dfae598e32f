"""Rows of LLaMA-Factory's alpaca, and the records that they are."""

from data.readers.examples.records import IMAGE, chat, said

CASES = {
    "alpaca": (
        "alpaca",
        {
            "instruction": "<image>What?",
            "input": "Be short.",
            "output": "A cat.",
            "system": "",
            "history": [["1", "2"]],
            "images": ["a.png"],
        },
        chat(
            said("user", "1"),
            said("assistant", "2"),
            said("user", IMAGE, "What?\nBe short."),
            said("assistant", "A cat."),
        ),
    ),
    "alpaca ranking": (
        "alpaca",
        {"instruction": "What?", "input": "", "chosen": "A cat.", "rejected": "A dog."},
        chat(said("user", "What?"), said("assistant", "A cat."), rejected=(said("assistant", "A dog."),)),
    ),
}
"""Name → format, row, record."""
BAD = [
    ({"instruction": "a", "output": 3}, "output", "must be text"),
    ({"instruction": "a", "output": "b", "history": [["x"]]}, "history[0]", "a question and its answer"),
]
"""Row, field at fault, words of the reason."""

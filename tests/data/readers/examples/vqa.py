"""Rows of benchmarks' questions, and the records that they are."""

from data.readers.examples.records import ASKED, chat, said
from vitrail.data import records as r

CASES = {
    "vqa open": (
        "vqa",
        {"question": "What?", "answer": "a cat", "image": "a.png", "category": "animals"},
        chat(ASKED, said("assistant", "a cat"), meta={"category": "animals"}),
    ),
    "vqa columns": (
        "vqa",
        {"question": "What?", "answer": "B", "A": "cat", "B": "dog", "C": None, "image": "a.png", "index": 4},
        chat(ASKED, choices=r.Choices(options=("cat", "dog"), answer=1), meta={"index": 4}),
    ),
    "vqa options": (
        "vqa",
        {"question": "What?", "answer": "dog", "options": ["cat", "dog"], "image": "a.png"},
        chat(ASKED, choices=r.Choices(options=("cat", "dog"), answer=1)),
    ),
    "vqa choices count from 0": (
        "vqa",
        {"question": "What?", "answer": 0, "choices": ["cat", "dog"], "image": "a.png"},
        chat(ASKED, choices=r.Choices(options=("cat", "dog"), answer=0)),
    ),
}
"""Name → format, row, record."""
BAD = [
    (
        {"question": "Q", "answer": "E", "A": "1", "B": "2"},
        "answer",
        "neither an option's letter nor its text",
    ),
    ({"question": "Q", "answer": 1, "options": ["a", "b"]}, "answer", "may count from 0 or from 1"),
    ({"question": "Q", "answer": 2, "choices": ["a", "b"]}, "answer", "counted from 0"),
    ({"question": "Q", "answer": "B", "options": ["B", "a"]}, "answer", "more than one option"),
    ({"question": "Q", "answer": "A", "A": "1", "C": "2"}, "C", "have a gap"),
]
"""Row, field at fault, words of the reason."""

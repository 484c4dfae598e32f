"""Rows of ms-swift, and the records that they are."""

import json

from data.readers.examples.records import ASKED, CALL, IMAGE, TWO, chat, said
from vitrail.data import records as r

CASES = {
    "swift two pictures": (
        "swift",
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "<image>and<image>: differ?"},
                {"role": "assistant", "content": "<image> is a tag"},
            ],
            "images": ["a.png", "b.png"],
        },
        chat(
            said("system", "S"),
            said("user", TWO[0], "and", TWO[1], ": differ?"),
            said("assistant", "<image> is a tag"),
        ),
    ),
    "swift video": (
        "swift",
        {
            "messages": [{"role": "user", "content": "<video>What?"}, {"role": "assistant", "content": "x"}],
            "videos": [["1.jpg", "2.jpg"]],
        },
        chat(
            said("user", r.Video(frames=(r.Image(path="1.jpg"), r.Image(path="2.jpg"))), "What?"),
            said("assistant", "x"),
        ),
    ),
    "swift rejected": (
        "swift",
        {
            "messages": [
                {"role": "user", "content": "<image>What?"},
                {"role": "assistant", "content": "A cat."},
            ],
            "images": ["a.png"],
            "rejected_response": "A dog.",
        },
        chat(ASKED, said("assistant", "A cat."), rejected=(said("assistant", "A dog."),)),
    ),
    "swift rejected messages": (
        "swift",
        {
            "messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}],
            "rejected_messages": [
                {"role": "user", "content": "What?"},
                {"role": "assistant", "content": "A dog."},
            ],
        },
        chat(said("user", "What?"), said("assistant", "A cat."), rejected=(said("assistant", "A dog."),)),
    ),
    "swift loss and unpaired": (
        "swift",
        {
            "messages": [
                {"role": "user", "content": "1"},
                {"role": "assistant", "content": "2", "loss": False},
                {"role": "user", "content": "3"},
                {"role": "assistant", "content": "4"},
            ],
            "label": False,
        },
        chat(
            said("user", "1"),
            said("assistant", "2", weight=0),
            said("user", "3"),
            said("assistant", "4", weight=0),
            meta={"label": False},
        ),
    ),
    "swift boxes": (
        "swift",
        {
            "messages": [
                {"role": "user", "content": "<image>Find the <ref-object>"},
                {"role": "assistant", "content": "at <bbox>, click <bbox>"},
            ],
            "images": ["a.png"],
            "objects": {"ref": ["sheep"], "bbox": [[90.9, 160.8, 135, 212.8], [615, 226]]},
        },
        chat(
            said("user", IMAGE, "Find the sheep"),
            said(
                "assistant",
                "at ",
                r.Region(box=(90.9, 160.8, 135, 212.8)),
                ", click ",
                r.Points(points=((615, 226),)),
            ),
        ),
    ),
    "swift boxes in the second picture": (
        "swift",
        {
            "messages": [
                {"role": "user", "content": "<image><image>Where?"},
                {"role": "assistant", "content": "<bbox> and <bbox>"},
            ],
            "images": ["a.png", "b.png"],
            "objects": {"ref": [], "bbox": [[1, 2, 3, 4], [5, 6]], "image_id": [1, 0]},
        },
        chat(
            said("user", *TWO, "Where?"),
            said("assistant", r.Region(box=(1, 2, 3, 4), image=1), " and ", r.Points(points=((5, 6),))),
        ),
    ),
    "swift boxes of 0 to 1 become text": (
        "swift",
        {
            "messages": [
                {"role": "user", "content": "<image>Where?"},
                {"role": "assistant", "content": "<bbox>"},
            ],
            "images": ["a.png"],
            "objects": {"ref": [], "bbox": [[0.1, 0.25, 0.5, 1.0]], "bbox_type": "norm1"},
        },
        chat(
            said("user", IMAGE, "Where?"),
            said("assistant", "[(100,250),(500,1000)]"),
            meta={"objects": {"ref": [], "bbox": [[0.1, 0.25, 0.5, 1.0]], "bbox_type": "norm1"}},
        ),
    ),
    "swift tools": (
        "swift",
        {
            "messages": [
                {"role": "user", "content": "Zoom"},
                {"role": "tool_call", "content": json.dumps(CALL)},
                {"role": "tool_response", "content": "ok"},
                {"role": "assistant", "content": "Done"},
            ],
            "tools": "[]",
        },
        chat(
            said("user", "Zoom"),
            said("assistant", r.ToolCall(**CALL)),
            said("tool", "ok"),
            said("assistant", "Done"),
            meta={"tools": "[]"},
        ),
    ),
    "swift query and response": (
        "swift",
        {
            "query": "<image>What?",
            "response": "A cat.",
            "history": [["1", "2"]],
            "system": "S",
            "images": ["a.png"],
        },
        chat(
            said("system", "S"), said("user", "1"), said("assistant", "2"), ASKED, said("assistant", "A cat.")
        ),
    ),
    "swift rounds": (
        "swift",
        {"system": "S", "conversation": [{"human": "1", "assistant": "2"}]},
        chat(said("system", "S"), said("user", "1"), said("assistant", "2")),
    ),
}
"""Name → format, row, record."""
BAD = [
    (
        {"messages": [{"role": "user", "content": "<image>x"}], "images": ["a", "b"]},
        "messages",
        "1 times '<image>', and the row has 2 images",
    ),
    (
        {"messages": [{"role": "assistant", "content": "<image>x"}], "images": ["a"]},
        "images[0]",
        "no user turn",
    ),
    (
        {
            "messages": [{"role": "user", "content": "<bbox>"}],
            "objects": {"bbox": [[1, 2, 3, 4], [1, 2]], "ref": []},
        },
        "objects.bbox",
        "2 entries for 1 times",
    ),
    (
        {"messages": [{"role": "user", "content": "<bbox>"}], "objects": {"bbox": [[1, 2, 3]]}},
        "objects.bbox[0]",
        "2, 4 or 8",
    ),
]
"""Row, field at fault, words of the reason."""
CANNOT_SAY = [
    ("swift", chat(ASKED, said("assistant", "x", weight=0.5)), "messages[1].weight"),
    (
        "swift",
        chat(ASKED, said("assistant", r.Region(box=(1, 2, 3, 4), label="x"))),
        "messages[1].content[0].label",
    ),
]
"""Target format, record, field that has no place in it."""

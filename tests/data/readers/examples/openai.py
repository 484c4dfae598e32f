"""Rows of OpenAI's fine-tuning, and the records that they are."""

from data.readers.examples.records import ASKED, CALL, chat, said
from vitrail.data import records as r

CASES = {
    "openai": (
        "openai",
        {
            "messages": [
                {"role": "developer", "content": "S"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}},
                        {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "wav"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "weight": 0,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "zoom", "arguments": '{"x": 1}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "ok"},
                {"role": "assistant", "content": "A cat."},
            ],
            "parallel_tool_calls": False,
        },
        chat(
            said("system", "S"),
            said("user", "What?", r.Image(url="https://x.org/a.png"), r.Audio(bytes=b"\0\1\2")),
            said("assistant", r.ToolCall(**CALL, id="c1"), weight=0),
            said("tool", "ok"),
            said("assistant", "A cat."),
            meta={"parallel_tool_calls": False, "message_tool_call_id": {"3": "c1"}},
        ),
    ),
    "openai preference": (
        "openai",
        {
            "input": {"messages": [{"role": "user", "content": "What?"}], "tools": []},
            "preferred_output": [{"role": "assistant", "content": "A cat."}],
            "non_preferred_output": [{"role": "assistant", "content": "A dog."}],
        },
        chat(said("user", "What?"), said("assistant", "A cat."), rejected=(said("assistant", "A dog."),)),
    ),
}
"""Name → format, row, record."""
BAD = [
    ({"input": {}, "preferred_output": []}, "input.messages", "must be a list"),
]
"""Row, field at fault, words of the reason."""
CANNOT_SAY = [
    ("openai", chat(ASKED, choices=r.Choices(options=("a", "b"))), "choices"),
]
"""Target format, record, field that has no place in it."""

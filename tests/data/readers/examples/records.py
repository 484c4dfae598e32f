"""What the examples of all formats are written with."""

from vitrail.data import records as r

IMAGE, TWO = r.Image(path="a.png"), (r.Image(path="a.png"), r.Image(path="b.png"))


def text(words):
    return r.Text(text=words)


def said(role, *content, weight=1.0):
    return r.Message(
        role=role, content=tuple(text(c) if isinstance(c, str) else c for c in content), weight=weight
    )


def chat(*messages, **more):
    return r.Chat(messages=messages, **more)


ASKED = said("user", IMAGE, "What?")
PARTS = [{"type": "image"}, {"type": "text", "text": "What?"}]
CALL = {"name": "zoom", "arguments": {"x": 1}}

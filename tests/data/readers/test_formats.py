import base64
from pathlib import Path

import pytest

from vitrail.data.readers.formats import recognise
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import RowRules, to_record
from vitrail.data.records import Document, Image, Text, ToolCall


def read(row, root="."):
    return to_record(row, Path(root), RowRules())


def user(content):
    return {"role": "user", "content": content}


def parts(chat, turn=0):
    return chat.messages[turn].content


def test_plain_strings_are_text_whatever_they_hold():
    chat = read({"messages": [user("What is <image>?"), {"role": "assistant", "content": "A tag."}]})
    assert parts(chat) == (Text(text="What is <image>?"),)
    assert chat.messages[1].text == "A tag."


@pytest.mark.parametrize(
    "part, expected",
    [
        ({"type": "image", "path": "a.png"}, Image(path="a.png")),
        ({"type": "image", "image": "a.png"}, Image(path="a.png")),
        ({"type": "image", "image": "file://a.png"}, Image(path="a.png")),
        ({"type": "image", "url": "https://x.org/a.png"}, Image(url="https://x.org/a.png")),
        ({"type": "image", "image": "https://x.org/a.png"}, Image(url="https://x.org/a.png")),
        ({"type": "image", "bytes": "AAEC"}, Image(bytes=b"\0\1\2")),
        ({"type": "image", "base64": "AAEC", "width": 3}, Image(bytes=b"\0\1\2", width=3)),
        ({"type": "image", "image": {"bytes": b"\0\1\2", "path": "old name.png"}}, Image(bytes=b"\0\1\2")),
        ({"type": "image", "image": {"bytes": None, "path": "a.png"}}, Image(path="a.png")),
        ({"type": "image", "bytes": "AAEC", "path": "old.png", "text": None}, Image(bytes=b"\0\1\2")),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}, Image(bytes=b"\0\1\2")),
        ({"type": "image_url", "image_url": "https://x.org/a.png"}, Image(url="https://x.org/a.png")),
        ("text", Text(text="text")),
    ],
)
def test_ways_to_write_a_part(part, expected):
    assert parts(read({"messages": [user([part])]})) == (expected,)


def test_pictures_beside_go_where_parts_ask_for_them():
    row = {
        "messages": [
            user([{"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}]),
            {"role": "assistant", "content": "Two."},
            user([{"type": "text", "text": "And"}, {"type": "image", "path": None}]),
        ],
        "images": ["a.png", {"bytes": b"\1", "path": "b.png"}, {"path": "c.png", "bytes": None}],
    }
    assert read(row).images == [Image(path="a.png"), Image(bytes=b"\1"), Image(path="c.png")]


def test_pictures_that_no_part_asks_for_stand_before_the_first_question():
    row = {
        "messages": [{"role": "system", "content": "Be short."}, user("What?")],
        "images": ["a.png", "b.png"],
    }
    chat = read(row)
    assert parts(chat, 1) == (Image(path="a.png"), Image(path="b.png"), Text(text="What?"))
    assert parts(read({"messages": [user("What?")], "image": "a.png"}))[0] == Image(path="a.png")


def test_options_and_rejected_answers_may_show_pictures():
    row = {
        "messages": [user([{"type": "image"}, "Which?"])],
        "rejected": [{"role": "assistant", "content": [{"type": "image"}]}],
        "choices": {"options": [[{"type": "image"}], [{"type": "image"}], "neither"], "answer": 1},
        "images": ["q.png", "r.png", "0.png", "1.png"],
    }
    chat = read(row)
    assert chat.rejected[0].content == (Image(path="r.png"),)
    assert chat.choices.options == ((Image(path="0.png"),), (Image(path="1.png"),), (Text(text="neither"),))


def test_tool_calls_become_parts():
    call = {"id": "c1", "type": "function", "function": {"name": "zoom", "arguments": '{"x": 1}'}}
    row = {"messages": [user("Zoom"), {"role": "assistant", "content": None, "tool_calls": [call]}]}
    assert parts(read(row), 1) == (ToolCall(name="zoom", arguments={"x": 1}, id="c1"),)


def test_other_columns_go_to_meta_and_whole_numbers_identify():
    row = {"id": 7, "messages": [user("What?")], "meta": {"kind": "what"}, "dataset": "vqa", "score": None}
    chat = read(row)
    assert (chat.id, chat.meta) == ("7", {"kind": "what", "dataset": "vqa"})
    assert read({**row, "meta": '{"a": [1]}'}).meta == {"a": [1], "dataset": "vqa"}


def test_other_kinds_are_told_by_their_kind():
    assert read({"kind": "document", "content": "a"}) == Document(content=(Text(text="a"),))
    assert recognise({"kind": "episode", "messages": []}).name == "record"


@pytest.mark.parametrize(
    "row, field, words",
    [
        ([], "", "must be a JSON object"),
        ({"mesages": []}, "", "did you mean 'messages' by 'mesages'"),
        (
            {"answer": "a", "asked": "b"},
            "",
            "a chat row has 'messages' (fields: answer, asked; formats: alpaca",
        ),
        ({"kind": "documant"}, "kind", "'documant' is unknown; known: chat, document"),
        ({"messages": "hello"}, "messages", "must be a list"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": ["hello"]}, "messages[0]", "must be an object"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is missing; add it"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "is missing"),
        (
            {"messages": [{"role": "asistant", "content": "x"}]},
            "messages[0].role",
            "did you mean 'assistant'? known",
        ),
        ({"messages": [{**user("x"), "wieght": 1}]}, "messages[0].wieght", "did you mean 'weight'?"),
        ({"messages": [user("x"), user(3)]}, "messages[1].content", "but it is 3"),
        ({"messages": [user([3])]}, "messages[0].content[0]", "must be an object"),
        ({"messages": [user([{"text": "x"}])]}, "messages[0].content[0]", "has no 'type'"),
        ({"messages": [user([{"type": "imge"}])]}, "messages[0].content[0]", "did you mean 'image'?"),
        (
            {"messages": [user(["a", {"type": "text", "text": 3}])]},
            "messages[0].content[1].text",
            "valid string",
        ),
        (
            {"messages": [user([{"type": "image", "path": "a", "width": 0}])]},
            "messages[0].content[0].width",
            "greater than 0, but it is 0",
        ),
        ({"messages": [user([{"type": "image"}])]}, "messages[0].content[0]", "has no path or bytes"),
        ({"messages": [user([{"type": "image", "bytes": "!!"}])]}, "messages[0].content[0].bytes", ""),
        (
            {"messages": [user([{"type": "image"}])], "images": ["a", "b"]},
            "images[1]",
            "ask for 1 of the row's 2 images",
        ),
        ({"messages": [user("x")], "images": [3]}, "images[0]", "must be a path"),
        ({"messages": [user("x")], "images": [{"path": None, "bytes": None}]}, "images[0]", "has neither"),
        (
            {"messages": [user([{"type": "text", "text": "<image>\nWhat?"}])], "images": ["a"]},
            "messages",
            '{"type": "image"}',
        ),
        ({"messages": [{"role": "assistant", "content": "x"}], "images": ["a"]}, "images[0]", "no user turn"),
        (
            {"messages": [user("x")], "choices": {"options": ["a", "b"], "answer": 2}},
            "choices",
            "answer is 2",
        ),
        ({"messages": [user("x")], "choices": {"options": ["a"]}}, "choices.options", "at least 2 items"),
        ({"messages": [user("x")], "choices": ["a", "b"]}, "choices", "must be an object with 'options'"),
        ({"messages": [user("x")], "meta": "{"}, "meta", "no JSON"),
        ({"messages": [user("x")], "meta": {"a": 1}, "a": 2}, "a", "both a column and in 'meta'"),
        ({"messages": [user("x")], "imagess": []}, "imagess", "did you mean 'images'?"),
        ({"messages": [user("x")], "choice": {}}, "choice", "did you mean 'choices'?"),
        (
            {"messages": [user([{"type": "image", "image": "data:image/png,xx"}])]},
            "messages[0].content[0].image",
            "base64",
        ),
    ],
)
def test_mistakes_are_named_with_field_and_remedy(row, field, words):
    with pytest.raises(FieldError) as caught:
        read(row)
    assert caught.value.field == field
    assert words in caught.value.reason


def test_long_values_are_cut_in_messages():
    row = {
        "messages": [
            user([{"type": "image", "image": "data:x;base64," + base64.b64encode(b"a").decode() * 999}])
        ]
    }
    with pytest.raises(FieldError) as caught:
        read(row)
    assert len(str(caught.value)) < 250

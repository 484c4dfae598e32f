"""The formats of other people's tools: rows as their documentation shows them → records, and back."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitrail import registry
from vitrail.data import records as r
from vitrail.data.readers import convert, open_source
from vitrail.data.readers.convert import ROW_FORMATS
from vitrail.data.readers.expressing import canonical
from vitrail.data.readers.formats import recognise
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import RowRules, to_record

IMAGE, TWO = r.Image(path="a.png"), (r.Image(path="a.png"), r.Image(path="b.png"))


def read(row):
    return to_record(row, Path("."), RowRules())


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

CASES = {
    # TRL: prompt-completion and preference, strings and messages, media beside
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
    # ms-swift
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
    # LLaVA
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
    # LLaMA-Factory
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
    # OpenAI
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
    # benchmarks and captions
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
    "caption": (
        "caption",
        {"image": {"bytes": b"x", "path": "old.png"}, "text": "a cat"},
        chat(said("user", r.Image(bytes=b"x")), said("assistant", "a cat")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_become_records(name):
    form, row, expected = CASES[name]
    assert recognise(row).name == form
    assert read(row) == expected


BAD = [
    ({"prompt": "a", "chosen": "b"}, "rejected", "is missing"),
    ({"prompt": "a", "completion": "b", "chosen": "c"}, "chosen", "keep one"),
    ({"chosen": "a", "rejected": "b"}, "chosen", "must be a list of messages"),
    ({"prompt": "<image> or <image>", "completion": "b", "image": "a"}, "prompt", "2 times '<image>'"),
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
    ({"instruction": "a", "output": 3}, "output", "must be text"),
    ({"instruction": "a", "output": "b", "history": [["x"]]}, "history[0]", "a question and its answer"),
    (
        {"question": "Q", "answer": "E", "A": "1", "B": "2"},
        "answer",
        "neither an option's letter nor its text",
    ),
    ({"question": "Q", "answer": 1, "options": ["a", "b"]}, "answer", "may count from 0 or from 1"),
    ({"question": "Q", "answer": 2, "choices": ["a", "b"]}, "answer", "counted from 0"),
    ({"question": "Q", "answer": "B", "options": ["B", "a"]}, "answer", "more than one option"),
    ({"question": "Q", "answer": "A", "A": "1", "C": "2"}, "C", "have a gap"),
    ({"image": "a", "text": "x", "caption": "y"}, "caption", "keep one"),
    ({"image": "a", "images": ["b"], "text": "x"}, "images", "another column of its kind"),
    ({"input": {}, "preferred_output": []}, "input.messages", "must be a list"),
]


@pytest.mark.parametrize("row, field, words", BAD)
def test_mistakes_name_their_field(row, field, words):
    with pytest.raises(FieldError) as caught:
        read(row)
    assert caught.value.field == field and words in caught.value.reason


NAMES = [name for form in CASES.values() for name in form[1]] + [
    "kind",
    "label",
    "objects",
    "preferred_output",
]
VALUES = st.sampled_from(
    ["x", None, 1, False, [], {}, {"messages": []}, "document", [{"role": "user", "content": "<image>"}]]
    + [[{"from": "human", "value": "x"}], [{"role": "user", "content": [{"type": "image_url"}]}]]
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({*NAMES})), VALUES, max_size=6))
def test_no_row_is_in_two_formats(row):
    found = [name for name in registry.names("format") if registry.get("format", name)().recognises(row)]
    assert len(found) <= 1


words = st.text(st.characters(codec="utf-8"), max_size=10) | st.sampled_from(
    ["\n", "a\n", "\nb", "<image>", "<bbox>"]
)
picture = st.sampled_from([IMAGE, *TWO, r.Image(bytes=b"\x89PNG1"), r.Image(url="https://x.org/1.png")])
user_parts = st.lists(words.map(text) | picture, max_size=4)
answer = st.lists(words.map(text), min_size=1, max_size=2)
turns = st.lists(
    st.tuples(user_parts, answer).map(lambda pair: [said("user", *pair[0]), said("assistant", *pair[1])]),
    min_size=1,
    max_size=3,
).map(lambda rounds: [turn for pair in rounds for turn in pair])
systems = st.none() | words.map(lambda words: said("system", words))
simple = st.builds(
    lambda first, rest, worse, identity, meta: chat(
        *([first] if first else []),
        *rest,
        rejected=None if worse is None else (said("assistant", worse),),
        id=identity,
        meta=meta,
    ),
    systems,
    turns,
    st.none() | words,
    st.none() | words,
    st.dictionaries(
        st.sampled_from(["source", "score", "image", "tools", "label"]),
        st.sampled_from(["x", 1, False]),
        max_size=2,
    ),
)


@pytest.mark.parametrize("to", ROW_FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(simple, min_size=1, max_size=4))
def test_what_is_written_reads_back(tmp_path, to, records):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG" + name.encode())
    path = tmp_path / "out.json"
    aside = convert(records, path, to, images="inline", root=tmp_path, on_error="set_aside")
    assert aside.used + len(aside.rows) == len(records)
    left_out = {row.line - 1 for row in aside.rows}
    kept = [record for n, record in enumerate(records) if n not in left_out]
    if not kept:
        return
    source = open_source(path)
    assert len(source) == len(kept)
    for one, record in zip(source, kept, strict=True):
        inlined = {"a.png": b"\x89PNGa.png", "b.png": b"\x89PNGb.png"}
        wanted = canonical(record)
        content = [
            message.model_copy(
                update={
                    "content": tuple(
                        r.Image(bytes=inlined[part.path]) if getattr(part, "path", None) else part
                        for part in message.content
                    )
                }
            )
            for message in wanted.messages
        ]
        assert one == wanted.model_copy(update={"messages": tuple(content)})


EXPRESSED = {
    "trl": ("trl messages", "trl preference", "trl: a prompt's answers are not learnt", "caption"),
    "swift": (
        "swift two pictures",
        "swift video",
        "swift rejected",
        "swift boxes",
        "swift tools",
        "swift boxes in the second picture",
    ),
    "llava": ("llava", "llava interleaved"),
    "sharegpt": ("sharegpt", "sharegpt ranking", "llava interleaved"),
    "openai": ("openai preference", "trl strings", "caption"),
}


@pytest.mark.parametrize("to", EXPRESSED)
def test_what_a_format_must_be_able_to_say(tmp_path, to, png):
    for name in ("a.png", "b.png", "1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(png(seed=len(name)))
    for name in EXPRESSED[to]:
        record = CASES[name][2]
        where = tmp_path / "out" / f"{to}.jsonl"
        assert convert([record], where, to, images="folder", root=tmp_path).used == 1
        (back,) = open_source(where)
        assert [message.text for message in back.messages] == [message.text for message in record.messages]
        assert back.rejected == record.rejected and back.meta == record.meta
        assert len(back.images) == len(record.images)


@pytest.mark.parametrize(
    "to, record, field",
    [
        ("llava", chat(said("system", "S"), ASKED), "messages[0].role"),
        ("llava", chat(ASKED, said("assistant", "x", weight=0)), "messages[1].weight"),
        ("llava", chat(said("user", IMAGE, "is <image> text?")), "messages[0].content[1]"),
        ("sharegpt", chat(ASKED, said("assistant", IMAGE)), "messages[1].content[0]"),
        ("swift", chat(ASKED, said("assistant", "x", weight=0.5)), "messages[1].weight"),
        (
            "swift",
            chat(ASKED, said("assistant", r.Region(box=(1, 2, 3, 4), label="x"))),
            "messages[1].content[0].label",
        ),
        ("trl", chat(ASKED, said("assistant", r.Region(box=(1, 2, 3, 4)))), "messages[1].content[0]"),
        ("openai", chat(ASKED, choices=r.Choices(options=("a", "b"))), "choices"),
        ("trl", chat(ASKED, meta={"prompt": 1}), "meta.prompt"),
        ("trl", r.Document(content=(text("x"),)), "kind"),
        ("trl", chat(said("user", r.Image(path="none.png"))), "messages[0].content[0]"),
    ],
)
def test_what_a_format_cannot_say_is_refused_by_field(tmp_path, to, record, field, png):
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(ValueError) as caught:
        convert([record], tmp_path / "o.jsonl", to, root=tmp_path)
    assert f"record 1, {field}: " in str(caught.value)
    assert not (tmp_path / "o.jsonl").exists()
    aside = convert([record, chat(ASKED)], tmp_path / "o.jsonl", to, root=tmp_path, on_error="set_aside")
    assert (aside.used, [row.field for row in aside.rows]) == (1, [field])
    assert len(open_source(tmp_path / "o.jsonl")) == 1


def test_openai_rows_keep_calls_and_sounds(tmp_path):
    record = CASES["openai"][2]
    convert([record], tmp_path / "o.jsonl", "openai")
    assert list(open_source(tmp_path / "o.jsonl")) == [record]


def test_an_unknown_target_is_named(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'llava'"):
        convert([], tmp_path / "x", "lava")


def test_the_examples_of_the_documentation_are_what_they_say():
    table = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `") and line.count("|") == 4]
    examples = {cells[1].strip(" `"): json.loads(cells[3].strip(" `")) for cells in rows if "{" in cells[3]}
    assert sorted(examples) == registry.names("format")
    for name, row in examples.items():
        assert recognise(row).name == name
        assert read(row)

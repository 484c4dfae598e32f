"""Records of every kind, with every type of content, come back from a file as they were written."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitrail.data import records as r
from vitrail.data.media import media_of
from vitrail.data.readers import open_source, write_jsonl, write_parquet

text = st.text(st.characters(codec="utf-8"), max_size=12)
number = st.floats(-1e6, 1e6, allow_nan=False)
whole = st.integers(-(2**53), 2**53)
json_value = st.recursive(
    st.none() | st.booleans() | whole | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
meta = st.dictionaries(text, json_value, max_size=3)
size = st.none() | st.integers(1, 4000)
raw = st.binary(max_size=24)


def optional(strategy):
    return st.none() | strategy


def numbers(n):
    return st.tuples(*[number] * n)


image = st.builds(r.Image, bytes=raw, width=size, height=size) | st.builds(
    r.Image, url=st.just("https://example.org/a.png"), width=size
)
video = st.builds(
    r.Video, frames=st.lists(image, min_size=1, max_size=3).map(tuple), fps=optional(st.floats(0.1, 60))
)
region = st.one_of(
    st.builds(r.Region, box=numbers(4), label=optional(text), image=st.integers(0, 3)),
    st.builds(r.Region, rotated=numbers(5)),
    st.builds(r.Region, quad=numbers(8)),
    st.builds(r.Region, box3d=numbers(9)),
    st.builds(r.Region, mask=st.just({"size": [4, 5], "counts": "abc"})),
    st.builds(r.Region, track=st.dictionaries(st.integers(0, 99), numbers(4), min_size=1, max_size=3)),
)
content = st.one_of(
    st.builds(r.Text, text=text),
    image,
    video,
    st.builds(r.Audio, bytes=raw, sampling_rate=size),
    st.builds(r.Points, points=st.lists(numbers(2), max_size=3).map(tuple), label=optional(text)),
    region,
    st.builds(r.Span, start=st.integers(0, 9), end=st.integers(0, 9), label=optional(text)),
    st.builds(
        r.ToolCall, name=text, arguments=st.dictionaries(text, json_value, max_size=2), id=optional(text)
    ),
    st.builds(r.Action, value=st.integers(-9, 9) | text | st.lists(number, max_size=3).map(tuple)),
)
parts = st.lists(content, max_size=4).map(tuple)
message = st.builds(
    r.Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=parts,
    weight=st.just(1.0) | st.floats(0, 2),
)
messages = st.lists(message, min_size=1, max_size=3).map(tuple)
choices = st.lists(parts, min_size=2, max_size=4).flatmap(
    lambda options: st.builds(
        r.Choices, options=st.just(tuple(options)), answer=optional(st.integers(0, len(options) - 1))
    )
)
identity = optional(text)
chat = st.builds(
    r.Chat, id=identity, meta=meta, messages=messages, rejected=optional(messages), choices=optional(choices)
)
document = st.builds(
    r.Document, id=identity, meta=meta, content=st.lists(content, min_size=1, max_size=4).map(tuple)
)
group = st.builds(
    r.Group, id=identity, meta=meta, relation=text, items=st.lists(parts, min_size=1, max_size=3).map(tuple)
)
step = st.builds(
    r.Step,
    observation=parts,
    action=optional(st.builds(r.Action, value=st.integers(0, 9))),
    reward=optional(number),
)
episode = st.builds(
    r.Episode,
    id=identity,
    meta=meta,
    goal=optional(parts),
    steps=st.lists(step, min_size=1, max_size=3).map(tuple),
)
any_record = st.one_of(chat, document, group, episode)


WRITERS = {"jsonl": write_jsonl, "parquet": write_parquet}
relaxed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def round_trip(records, folder, suffix, images):
    """The records after writing and reading; those with pictures beside the file also after writing them inline."""
    path, again = folder / f"round.{suffix}", folder / f"again.{suffix}"
    assert WRITERS[suffix](records, path, images=images) == len(records)
    source = open_source(path)
    if images == "folder":
        assert all(medium.bytes is None for record in source for _, medium in media_of(record))
        WRITERS[suffix](source, again, images="inline")
        source = open_source(again)
    return list(source)


@pytest.mark.parametrize("images", ["inline", "folder"])
@relaxed
@given(records=st.lists(any_record, min_size=1, max_size=5))
def test_json_lines(tmp_path, records, images):
    assert round_trip(records, tmp_path, "jsonl", images) == records


@pytest.mark.parametrize("images", ["inline", "folder"])
@relaxed
@given(records=st.lists(chat, min_size=1, max_size=5))
def test_parquet(tmp_path, records, images):
    assert round_trip(records, tmp_path, "parquet", images) == records

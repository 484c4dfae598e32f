"""Records → rows of other people's tools, and back."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.readers.examples import alpaca, captions, llava, openai, sharegpt, swift, trl, vqa
from data.readers.examples.records import ASKED, IMAGE, TWO, chat, said, text
from vitrail.data import records as r
from vitrail.data.readers import convert, open_source
from vitrail.data.readers.convert import ROW_FORMATS
from vitrail.data.readers.expressing import canonical

CASES = {
    name: case
    for form in (alpaca, captions, llava, openai, sharegpt, swift, trl, vqa)
    for name, case in form.CASES.items()
}
CANNOT_SAY = [case for form in (llava, openai, sharegpt, swift, trl) for case in form.CANNOT_SAY]

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


@pytest.mark.parametrize("to, record, field", CANNOT_SAY)
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

import copy
from itertools import pairwise

import pytest

from conftest import chat, picture
from vitrail.data.readers import convert, open_source
from vitrail.data.readers.convert import TARGETS
from vitrail.data.records import Chat, Choices, Document, Group, Message, Region, Text
from vitrail.data.sources import ListSource
from vitrail.recipes import datasets
from vitrail.recipes.datasets import EncodedRecords


def source(*records):
    return ListSource(records, name="mine")


GOOD = [chat("what?", "a cat" + " and a dog" * i, seed=i, id=str(i)) for i in range(4)]
SILENT = chat("what?", id="silent")
WEIGHTLESS = GOOD[0].model_copy(
    update={"messages": (GOOD[0].messages[0], Message(role="assistant", content="a cat", weight=0))}
)


def test_numbers_lengths_and_pictures(nano):
    records = EncodedRecords(source(*GOOD), nano.encoder)
    assert len(records) == 4 and records.lengths == [records[i].length for i in range(4)]
    assert records.lengths == sorted(records.lengths) and len(set(records.lengths)) == 4
    assert [image for image, _ in records.pictures()] == [chat.images[0] for chat in GOOD]
    assert records.pictures()[0][1] is None


def test_beyond_the_limit_records_are_read_again(nano, monkeypatch):
    held = EncodedRecords(source(*GOOD), nano.encoder)
    monkeypatch.setattr(datasets, "KEPT_BYTES", len(GOOD[0].images[0].bytes) + 1)
    read = EncodedRecords(source(*GOOD), nano.encoder)
    assert [kept is None for kept in read._kept] == [False, True, True, True]
    assert all(
        (read[i].input_ids == held[i].input_ids).all() and read[i].images == held[i].images for i in range(4)
    )
    assert read.fingerprint == held.fingerprint


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (SILENT, "no assistant turn"),
        (WEIGHTLESS, "no assistant turn"),
        (
            Group(relation="pair", items=((Text(text="a"),), (Text(text="b"),))),
            "trains on chats and documents, and this is a group",
        ),
        (Document(content=(picture(0),)), "the document has no text to learn"),
    ],
)
def test_what_cannot_be_trained_on(nano, bad, said):
    with pytest.raises(ValueError, match=f"record 1 of mine: .*{said}"):
        EncodedRecords(source(GOOD[0], bad, GOOD[1]), nano.encoder)
    records = EncodedRecords(source(GOOD[0], bad, GOOD[1]), nano.encoder, "set_aside")
    assert len(records) == 2 and list(records.set_aside) == [1] and said in records.set_aside[1]
    assert records[1].id == "1"
    assert records.fingerprint != EncodedRecords(source(*GOOD[:2]), nano.encoder).fingerprint
    with pytest.raises(ValueError, match="no record to train on"):
        EncodedRecords(source(bad), nano.encoder, "set_aside")


ROUNDS = Chat(
    id="rounds",
    messages=[
        turn
        for n in range(4)
        for turn in (
            Message(role="user", content=(picture(n), Text(text=f"and {n}?"))),
            Message(role="assistant", content="a cat and a dog " * 3),
        )
    ],
)


def test_a_record_that_is_too_long_is_refused_dropped_or_loses_whole_turns(nano):
    whole = EncodedRecords(source(ROUNDS, GOOD[0]), nano.encoder)
    two_rounds = EncodedRecords(
        source(ROUNDS.model_copy(update={"messages": ROUNDS.messages[:4]})), nano.encoder
    )
    limit = two_rounds.lengths[0]
    assert whole.lengths[0] > limit > whole.lengths[1]
    with pytest.raises(ValueError, match=rf"record 0 of mine: it has {whole.lengths[0]} tokens, more than"):
        EncodedRecords(source(ROUNDS, GOOD[0]), nano.encoder, max_length=limit)
    dropped = EncodedRecords(source(ROUNDS, GOOD[0]), nano.encoder, too_long="drop", max_length=limit)
    assert dropped.counts == {"used": 1, "set_aside": 1, "too_long": 1, "cut": 0, "turns_cut": 0}
    assert "1 set aside, 1 of them too long (record 0: it has" in dropped.sentence()
    by_on_error = EncodedRecords(source(ROUNDS, GOOD[0]), nano.encoder, "set_aside", max_length=limit)
    assert by_on_error.counts == dropped.counts
    for slack, kept in ((0, 4), (1, 4), (-1, 2)):
        cut = EncodedRecords(
            source(ROUNDS, GOOD[0]), nano.encoder, too_long="cut_turns", max_length=limit + slack
        )
        assert cut.counts == {"used": 2, "set_aside": 0, "too_long": 0, "cut": 1, "turns_cut": 8 - kept}
        shorter = EncodedRecords(
            source(ROUNDS.model_copy(update={"messages": ROUNDS.messages[:kept]})), nano.encoder
        )
        assert (cut[0].input_ids == shorter[0].input_ids).all() and cut[0].images == shorter[0].images
        assert cut.fingerprint != whole.fingerprint
    assert f"1 cut by 6 turns to {limit - 1} tokens" in cut.sentence()


def test_what_cannot_be_cut_is_counted_as_too_long(nano):
    worse = (Message(role="assistant", content="no"),)
    preferred = ROUNDS.model_copy(update={"rejected": worse})
    options = {
        "too_long": "cut_turns",
        "max_length": EncodedRecords(source(GOOD[0]), nano.encoder).lengths[0],
    }
    records = EncodedRecords(source(GOOD[0], preferred, ROUNDS, GOOD[3]), nano.encoder, **options)
    assert records.counts == {"used": 1, "set_aside": 3, "too_long": 3, "cut": 0, "turns_cut": 0}
    assert "preference cannot be cut" in records.set_aside[1] and "its first answer" in records.set_aside[2]


def test_the_limit_of_the_encoder_holds_and_stays(nano):
    encoder = copy.copy(nano.encoder)
    encoder.max_length = EncodedRecords(source(*GOOD), nano.encoder).lengths[1]
    records = EncodedRecords(source(*GOOD), encoder, "set_aside")
    assert list(records.set_aside) == [2, 3] and encoder.max_length is not None


def test_boxes_and_right_options_are_learnt_as_text(nano):
    size = (picture(0).open().size[0] / 4, picture(0).open().size[1] / 2)
    boxed = Chat(
        messages=(
            Message(role="user", content=(picture(0), Text(text="where?"))),
            Message(role="assistant", content=(Text(text="a cat "), Region(box=(0, 0, *size)))),
        )
    )
    words = Chat(messages=(boxed.messages[0], Message(role="assistant", content="a cat [(0,0),(250,500)]")))
    question = GOOD[0].model_copy(
        update={"messages": GOOD[0].messages[:1], "choices": Choices(options=("a dog", "a cat"), answer=1)}
    )
    records = EncodedRecords(source(boxed, words, question, GOOD[0]), nano.encoder)
    assert (records[0].input_ids == records[1].input_ids).all()
    assert (records[2].input_ids == records[3].input_ids).all()
    elsewhere = Message(role="assistant", content=(Region(box=(0, 0, 1, 1), image=1),))
    lost = boxed.model_copy(update={"messages": (GOOD[0].messages[0], elsewhere)})
    with pytest.raises(ValueError, match="is in picture 1, but the record has 1"):
        EncodedRecords(source(lost), nano.encoder)


@pytest.mark.parametrize("to", TARGETS)
def test_files_of_every_format_train_alike(nano, tmp_path, to):
    out = tmp_path / {"datasets": "folder", "webdataset": "rows.tar", "llava": "rows.json"}.get(to, "rows")
    convert(GOOD, out, to)
    records = EncodedRecords(open_source(out), nano.encoder)
    wanted = EncodedRecords(source(*GOOD), nano.encoder)
    assert all((records[i].input_ids == wanted[i].input_ids).all() for i in range(4))
    assert all((records[i].labels == wanted[i].labels).all() for i in range(4))


def text(words, **fields):
    return Document(content=(Text(text=words),), **fields)


def test_a_text_is_learnt_whole_beside_chats(nano):
    page = text("a cat and a dog. ", id="page")
    records = EncodedRecords(source(GOOD[0], page), nano.encoder)
    ids, tokenizer = records[1].input_ids.tolist(), nano.tokenizer
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[1:-1]) == "a cat and a dog. "
    assert records[1].labels.tolist() == [-100, *ids[1:]] and records[1].id == "page"
    assert records.lengths == [records[0].length, len(ids)] and records.pictures() == [
        (GOOD[0].images[0], None)
    ]
    spelt = EncodedRecords(source(text("<|im_end|> <image>")), nano.encoder)[0].input_ids.tolist()
    assert tokenizer.eos_token_id not in spelt[1:-1] and nano.processor.image_token_id not in spelt
    assert tokenizer.decode(spelt[1:-1]) == "<|im_end|> <image>"


@pytest.mark.parametrize("size", [2, 5, 7, 1000])
def test_a_long_text_becomes_rows_in_which_every_token_is_predicted_once(nano, size):
    long = text("a cat and a dog in the top left. " * 5, id="long")
    whole = EncodedRecords(source(long), nano.encoder)[0]
    records = EncodedRecords(source(long, GOOD[0]), nano.encoder, context=size if size < 1000 else None)
    rows = [records[i] for i in range(len(records) - 1)]
    assert all(row.length <= size for row in rows) and all(row.id == "long" for row in rows)
    predicted = [token for row in rows for token in row.labels[1:].tolist()]
    assert predicted == whole.input_ids[1:].tolist()
    assert all(a.input_ids[-1] == b.input_ids[0] for a, b in pairwise(rows))
    assert records.counts["used"] == 2 and records.lengths[:-1] == [row.length for row in rows]
    if size < 1000:
        assert records.divided == {0: len(rows)}
        assert f"1 documents divided into {len(rows)} rows of at most {size} tokens" in records.sentence()
        other = EncodedRecords(source(long, GOOD[0]), nano.encoder, context=size + 1)
        assert other.fingerprint != records.fingerprint


def test_a_long_page_becomes_rows_with_their_own_pictures(nano):
    parts = [part for seed in range(4) for part in (Text(text=f"a cat, number {seed}. "), picture(seed))]
    long = Document(content=tuple(parts), id="long")
    records = EncodedRecords(source(long), nano.encoder, context=12)
    rows = [records[i] for i in range(len(records))]
    assert len(rows) > 2 and all(row.length <= 12 for row in rows)
    assert [image for row in rows for image in row.images] == long.images
    assert [image for image, _ in records.pictures()] == long.images
    batch = nano.collator()(rows)
    assert batch["pixel_values"].shape[0] == 4 and batch["labels"].ne(-100).sum() == sum(
        row.labelled for row in rows
    )


def test_a_long_text_is_refused_or_dropped_where_that_is_said(nano):
    long, short = text("a cat and a dog " * 9), text("a cat")
    with pytest.raises(
        ValueError, match=r"record 0 of mine: it has .* tokens, more than 8; leave too_long out"
    ):
        EncodedRecords(source(long, short), nano.encoder, too_long="raise", max_length=8)
    dropped = EncodedRecords(source(long, short), nano.encoder, too_long="drop", max_length=8)
    assert dropped.counts["too_long"] == 1 and len(dropped) == 1
    with pytest.raises(ValueError, match="the text is empty"):
        EncodedRecords(source(text("  ")), nano.encoder)


def test_a_row_shows_its_pictures_as_the_whole_page_does(saved_family):
    """LLaVA-OneVision cuts a picture that stands alone into tiles, and none that stands beside others."""
    from vitrail.models.loading import load

    encoder = load(saved_family("llava_onevision")).encoder
    words = Text(text="a cat and a dog. " * 4)
    page = Document(content=(words, picture(1, (70, 20)), words, picture(2, (70, 20)), words))
    whole = EncodedRecords(source(page), encoder)[0]
    with pytest.raises(ValueError, match="cannot be divided: this model shows a picture alone otherwise"):
        EncodedRecords(source(page), encoder, context=whole.length * 2 // 3)

"""Texts as tokens, with tokenizers of several kinds."""

import numpy as np
import pytest

from conftest import picture
from vitrail.data.records import Document, Image, Text, Video
from vitrail.models.documents import ends, text_of, windows
from vitrail.models.encoding import ChatEncoder
from vitrail.models.processing import CHAT_TEMPLATE
from vitrail.models.testbeds import nano, nano_pretrained

TEMPLATE = CHAT_TEMPLATE.replace("{{ image_token }}", "")


def encoder(tokenizer, **options):
    return ChatEncoder(tokenizer, chat_template=TEMPLATE, **options)


def page(words):
    return Document(content=(Text(text=words),))


@pytest.mark.parametrize("testbed", [nano, nano_pretrained])
def test_a_text_is_its_tokens_between_begin_and_end(testbed):
    tokenizer = testbed.tokenizer()
    ids = encoder(tokenizer).encode(page("A red cat, là-bas.")).input_ids.tolist()
    assert ids == [
        tokenizer.bos_token_id,
        *tokenizer("A red cat, là-bas.")["input_ids"],
        tokenizer.eos_token_id,
    ]


def test_without_a_begin_token_the_end_token_begins():
    tokenizer = nano_pretrained.tokenizer()
    tokenizer.bos_token = None
    assert ends(tokenizer) == (tokenizer.eos_token_id, tokenizer.eos_token_id)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no end token"):
        ends(tokenizer)


def test_the_prompt_of_a_text_is_its_begin_token():
    tokenizer = nano_pretrained.tokenizer()
    prompt = encoder(tokenizer).encode(page("a cat"), add_generation_prompt=True)
    assert prompt.input_ids.tolist() == [tokenizer.bos_token_id] and prompt.labelled == 0


def test_media_are_no_text():
    mixed = Document(content=(Text(text="a"), Image(path="a.png")))
    assert text_of(mixed) is None and text_of("a") is None and text_of(page("a")) == "a"
    reads_text = encoder(nano_pretrained.tokenizer())
    with pytest.raises(ValueError, match="the document has 1 pictures, but this model takes none"):
        reads_text.encode(mixed)
    with pytest.raises(ValueError, match="texts and pictures, and this one holds video"):
        reads_text.encode(Document(content=(Text(text="a"), Video(path="a.mp4"))))


def with_pictures(*parts):
    """A document of words and pictures (by seed), as tokens of the tiny model with a tower of its own."""
    content = [Text(text=part) if isinstance(part, str) else picture(part) for part in parts]
    return nano.build().encoder.encode(Document(content=content, id="page"))


def test_a_document_needs_text_to_learn():
    with pytest.raises(ValueError, match="the document has no text to learn"):
        with_pictures(1, " ")


@pytest.mark.parametrize("size", [10, 11, 13, 20])
def test_rows_cut_no_picture_and_predict_every_token_once(size):
    whole = with_pictures("one two three", 1, "four five", 2, 3, "six seven eight nine", 4)
    rows = windows(whole, size)
    learnt = np.concatenate([row.labels[row.labels != -100] for row in rows])
    assert learnt.tolist() == whole.labels[whole.labels != -100].tolist()
    assert max(row.length for row in rows) <= size and {row.id for row in rows} == {"page"}
    shown = [image.bytes for row in rows for image in row.images]
    assert shown == [image.bytes for image in whole.images]
    for row in rows:
        items = row.item[row.item >= 0]
        assert set(items) == set(range(len(row.images))) and row.labels[0] == -100 and row.weight[0] == 0
    ids = np.concatenate([row.input_ids[place > 0 :] for place, row in enumerate(rows)])
    assert ids.tolist() == whole.input_ids.tolist()


def test_a_picture_that_fits_no_row():
    whole = with_pictures("one", 1, "two")
    with pytest.raises(ValueError, match="of pictures, more than fit into a row of 4"):
        windows(whole, 4)


def test_rows_hold_two_tokens_at_least():
    whole = encoder(nano_pretrained.tokenizer()).encode(page("a cat and a dog"))
    assert windows(whole, whole.length) == [whole]
    with pytest.raises(ValueError, match="hold nothing to predict"):
        windows(whole, 1)


def test_the_encoders_limit_holds():
    with pytest.raises(ValueError, match="more than max_length=3"):
        encoder(nano_pretrained.tokenizer(), max_length=3).encode(page("a cat and a dog"))

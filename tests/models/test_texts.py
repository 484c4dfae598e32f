"""Texts as tokens, with tokenizers of several kinds."""

import pytest

from vitrail.data.records import Document, Image, Text
from vitrail.models.encoding import ChatEncoder
from vitrail.models.processing import CHAT_TEMPLATE
from vitrail.models.testbeds import nano, nano_pretrained
from vitrail.models.texts import ends, text_of, windows

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
    with pytest.raises(ValueError, match="this one holds image"):
        encoder(nano_pretrained.tokenizer()).encode(mixed)


def test_rows_hold_two_tokens_at_least():
    whole = encoder(nano_pretrained.tokenizer()).encode(page("a cat and a dog"))
    assert windows(whole, whole.length) == [whole]
    with pytest.raises(ValueError, match="hold nothing to predict"):
        windows(whole, 1)


def test_the_encoders_limit_holds():
    with pytest.raises(ValueError, match="more than max_length=3"):
        encoder(nano_pretrained.tokenizer(), max_length=3).encode(page("a cat and a dog"))

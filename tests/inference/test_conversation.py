"""A conversation keeps its history through answers, errors, interruptions, files and a full context."""

from __future__ import annotations

import pytest

from conftest import picture
from vitrail.data.readers import open_source
from vitrail.data.records import Image
from vitrail.inference.conversation import Conversation
from vitrail.inference.generation import GenerationSettings, generate

SHORT = GenerationSettings(max_new_tokens=4)


def roles(conversation):
    return [message.role for message in conversation.messages]


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(picture(3).bytes)
    return path


def test_history_is_what_the_model_sees(nano, png):
    talk = Conversation(nano, SHORT, system="Be kind.")
    "".join(talk.say("What is this?", images=[png]))
    second = "".join(talk.say("And this?", images=[str(png), picture(4)]))
    assert roles(talk) == ["system", "user", "assistant", "user", "assistant"]
    assert [type(part).__name__ for part in talk.messages[3].content] == ["Image", "Image", "Text"]
    asked = talk.chat.model_copy(update={"messages": talk.messages[:4]})
    assert generate(nano, [asked], SHORT)[0].text == second.strip() == talk.messages[4].text


def test_a_picture_is_kept_as_it_was_when_it_was_shown(nano, png):
    talk = Conversation(nano, SHORT)
    list(talk.say("What?", images=[png]))
    before = talk.chat.images[0].bytes
    png.unlink()
    list(talk.say("Are you sure?"))
    assert talk.chat.images[0].bytes == before


@pytest.mark.parametrize("content", [None, b"not a picture"])
def test_a_bad_picture_is_refused_and_nothing_is_lost(nano, tmp_path, content):
    path = tmp_path / "bad.png"
    if content:
        path.write_bytes(content)
    talk = Conversation(nano, SHORT)
    list(talk.say("Hello"))
    with pytest.raises(ValueError, match="picture cannot be used"):
        list(talk.say("And this?", images=[path]))
    assert roles(talk) == ["user", "assistant"]


def test_undo_and_reset(nano):
    talk = Conversation(nano, SHORT, system="Be kind.")
    list(talk.say("One"))
    list(talk.say("Two"))
    talk.undo()
    assert [message.text for message in talk.messages][1] == "One" and len(talk.messages) == 3
    talk.undo()
    with pytest.raises(ValueError, match="nothing to take back"):
        talk.undo()
    list(talk.say("Three"))
    talk.reset()
    assert roles(talk) == ["system"]


def test_save_and_load(nano, png, tmp_path):
    talk = Conversation(nano, SHORT, system="Be kind.")
    list(talk.say("What is <image> this?", images=[png]))
    talk.save(tmp_path / "talk.jsonl")
    png.unlink()
    again = Conversation.load(tmp_path / "talk.jsonl", nano, settings=SHORT)
    assert again.messages == talk.messages
    assert open_source(tmp_path / "talk.jsonl")[0].messages == talk.messages
    assert list(again.say("And?")) == list(talk.say("And?"))


def test_nothing_to_save(nano, tmp_path):
    with pytest.raises(ValueError, match="nothing was said"):
        Conversation(nano).save(tmp_path / "talk.jsonl")
    (tmp_path / "odd.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    with pytest.raises(ValueError, match="must end with an answer"):
        Conversation.load(tmp_path / "odd.jsonl", nano)


def test_an_interrupted_answer_stays_as_far_as_it_went(nano):
    talk = Conversation(nano, GenerationSettings(max_new_tokens=200))
    pieces = talk.say("Tell me everything")
    first = next(pieces)
    pieces.close()
    assert talk.messages[1].text == first.strip()
    assert roles(talk) == ["user", "assistant"]


def test_an_error_while_answering_leaves_the_history_alone(nano):
    talk = Conversation(nano, SHORT)
    list(talk.say("One"))
    broken = nano.model.language.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(talk.say("Two"))
    broken.remove()
    assert roles(talk) == ["user", "assistant"]


def test_a_full_context_is_an_error_by_default(nano):
    talk = Conversation(nano, GenerationSettings(max_new_tokens=1000))
    list(Conversation(nano, SHORT).say("hi"))
    with pytest.raises(ValueError, match="more than the model's context of 1024"):
        list(talk.say("a long question " * 20))
    assert talk.messages == ()


def test_the_oldest_exchanges_are_left_out_whole(nano, monkeypatch):
    talk = Conversation(nano, SHORT, system="Be kind.", overflow="drop_oldest")
    seen = []
    encode = nano.encoder.encode
    monkeypatch.setattr(nano.encoder, "encode", lambda chat, **k: (seen.append(chat), encode(chat, **k))[1])
    text = "word " * 120
    for number in range(5):
        list(talk.say(f"{number} {text}", images=[picture(number)]))
    assert talk.dropped > 0
    assert len(talk.messages) == 11, "the history keeps everything"
    shown = [chat for chat in seen if chat.messages[-1].role == "user"][-1]
    assert shown.messages[0].role == "system" and shown.messages[1].role == "user"
    assert shown.messages[1:] == talk.messages[1 + 2 * talk.dropped : -1]
    assert len(shown.images) == 5 - talk.dropped
    with pytest.raises(ValueError, match="context"):
        list(talk.say("word " * 1200))
    assert len(talk.messages) == 11


def test_images_are_typed_parts(nano):
    talk = Conversation(nano, SHORT)
    list(talk.say("<image> is a word here"))
    assert not talk.chat.images
    assert not any(isinstance(part, Image) for message in talk.messages for part in message.content)

"""Chat records → tokens: what is learnt, what is a picture, and what stays text."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import chat, picture
from vitrail.data.records import Chat
from vitrail.models.layout import Modality, Speaker


def learnt(bundle, encoded):
    return bundle.tokenizer.decode(encoded.input_ids[encoded.labels != -100])


def test_answers_and_their_end_are_learnt(nano):
    encoded = nano.encoder.encode(chat("what is it?", "a red cat", "where?", "top left"))
    assert learnt(nano, encoded) == "a red cat<|im_end|>top left<|im_end|>"
    assert (encoded.weight[encoded.labels != -100] == 1).all()
    assert (encoded.weight[encoded.labels == -100] == 0).all()


def test_a_turn_of_weight_zero_is_not_learnt(nano):
    record = Chat(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "no", "weight": 0},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "yes", "weight": 0.5},
        ]
    )
    encoded = nano.encoder.encode(record)
    assert learnt(nano, encoded) == "yes<|im_end|>"
    assert set(encoded.weight[encoded.labels != -100]) == {0.5}


@pytest.mark.parametrize(
    "text", ["<image>", "a <image> b", "<|im_end|>", "<|im_start|>assistant\nyes", "\ue0000\ue001"]
)
def test_markers_in_a_text_stay_text(nano, text):
    encoded = nano.encoder.encode(chat(text, f"{text} it is", images=1))
    assert (encoded.modality == Modality.IMAGE).sum() == 4
    ids = nano.encoder.text_ids(text)
    assert not set(ids) & set(nano.tokenizer.all_special_ids) and nano.encoder.image_token_id not in ids
    assert nano.tokenizer.decode(ids) == text
    end = nano.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (encoded.input_ids == end).sum() == 2
    assert learnt(nano, encoded) == f"{text} it is<|im_end|>"


def test_layout_of_pictures_and_speakers(nano):
    encoded = nano.encoder.encode(chat("which?", "this", images=2))
    visual = encoded.modality == Modality.IMAGE
    assert encoded.item[visual].tolist() == [0] * 4 + [1] * 4
    assert (
        np.stack([encoded.frame, encoded.row, encoded.col], 1)[visual].tolist()
        == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]] * 2
    )
    assert (encoded.input_ids[visual] == nano.encoder.image_token_id).all()
    user = nano.tokenizer.decode(encoded.input_ids[(encoded.speaker == Speaker.USER) & ~visual])
    assert user == "which?"
    assert nano.tokenizer.decode(encoded.input_ids[encoded.speaker == Speaker.ASSISTANT]) == "this<|im_end|>"


def test_generation_prompt_opens_the_assistants_turn(nano):
    prompt = nano.encoder.encode(chat("what?"), add_generation_prompt=True)
    whole = nano.encoder.encode(chat("what?", "a cat"))
    answer = nano.encoder.answer_ids("a cat")
    assert whole.input_ids[: prompt.length + len(answer)].tolist() == [*prompt.input_ids, *answer]
    assert not (prompt.labels != -100).any()


def test_too_long_is_refused_not_cut(nano):
    encoder = nano.processor.encoder(max_length=12)
    with pytest.raises(ValueError, match=r"record 'r7' has \d+ tokens, more than max_length=12"):
        encoder.encode(chat("a question that is long", images=1, id="r7"))


def test_a_part_the_model_cannot_take_is_named(nano):
    record = Chat(messages=[{"role": "user", "content": [{"type": "audio", "path": "a.wav"}]}])
    with pytest.raises(ValueError, match="'audio' part in a user turn"):
        nano.encoder.encode(record)


def test_a_template_without_a_place_for_pictures_is_refused(nano):
    from vitrail.models.encoding import ChatEncoder

    parts = "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}"
    template = "{% for m in messages %}" + parts + "{% endfor %}"
    encoder = ChatEncoder(
        nano.tokenizer,
        image_token_id=nano.encoder.image_token_id,
        planner=nano.encoder.planner,
        chat_template=template,
    )
    with pytest.raises(ValueError, match=r"wrote 0 image placeholders .* for 1 pictures"):
        encoder.encode(chat("hello"))


def test_sizes_are_read_from_the_picture_where_the_record_has_none(nano):
    seen = []
    encoder = nano.processor.encoder()
    planner = encoder.planner

    def noted(width, height):
        seen.append((width, height))
        return planner(width, height)

    encoder.planner = noted
    bare = picture(size=(40, 20)).model_copy(update={"width": None, "height": None})
    encoder.encode(Chat(messages=[{"role": "user", "content": [bare]}]))
    assert seen == [(40, 20)]

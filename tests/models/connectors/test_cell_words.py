"""Words in front of a picture's tokens that name their places."""

import numpy as np
import pytest

from conftest import chat, picture
from vitrail.models.bundle import Bundle
from vitrail.models.connectors.mlp import MLPConnector, place_words
from vitrail.models.loading import load
from vitrail.models.testbeds import nano

WORDS = {"name": "mlp", "pool": 2, "cell_words": True}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return nano.build(connector=WORDS, seed=0)


def test_places_are_called_what_people_call_them():
    assert place_words(2) == ["top left", "top right", "bottom left", "bottom right"]
    assert place_words(3)[3:6] == ["left", "center", "right"]
    assert place_words(4)[5] == "row 2 column 2"
    assert len(set(place_words(5))) == 25


def test_words_stand_in_front_of_their_cells(bundle):
    encoded = bundle.encoder.encode(chat("what", "a cat"))
    places = np.flatnonzero(encoded.modality == 1)
    assert len(places) == 4 and np.array_equal(encoded.item[places], [0] * 4)
    assert list(zip(encoded.row[places], encoded.col[places], strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    for place, word in zip(places, (" top right:", " bottom left:", " bottom right:"), strict=False):
        ids = bundle.encoder.text_ids(word)
        between = encoded.input_ids[place + 1 : place + 1 + len(ids)].tolist()
        assert between == ids
    assert (encoded.labels[: places[-1] + 1] == -100).all()


def test_the_processor_writes_what_the_encoder_writes(bundle):
    processor = bundle.processor
    text = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "hello"}]}],
        chat_template=processor.chat_template,
        tokenize=False,
    )
    ids = processor(images=[picture().open()], text=text)["input_ids"][0]
    encoded = bundle.encoder.encode(chat("hello"))
    assert processor.tokenizer.decode(ids) == processor.tokenizer.decode(encoded.input_ids)
    places = [n for n, token in enumerate(ids) if token == processor.image_token_id]
    assert len(places) == 4 and places[1] - places[0] > 1


def test_words_are_saved_with_the_model(bundle, tmp_path):
    asked = chat("what", "a cat")
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.processor.cell_texts == ["top left:", " top right:", " bottom left:", " bottom right:"]
    assert np.array_equal(again.encoder.encode(asked).input_ids, bundle.encoder.encode(asked).input_ids)


def test_words_need_a_grid_of_a_known_size():
    with pytest.raises(ValueError, match=r"connector.cell_words needs connector.pool"):
        MLPConnector(MLPConnector.Config(pool=None, cell_embedding=False, cell_words=True), 8, 16)

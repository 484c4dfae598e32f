"""Sentences of masked encoders: an entity becomes exactly its tokens, whatever the tokenizer and the script."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import torch

import encoders
from vitrail.data.entities import Entity, of_meta
from vitrail.data.records import Document, Group
from vitrail.data.translations import LANGUAGES, Translations
from vitrail.models.loading import load
from vitrail.models.sentences import SentenceEncoder, columns


def pair(source, target):
    return Group(relation="translation", items=(source, target))


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_the_tokens_of_an_entity_spell_it_and_nothing_else(kind):
    own = encoders.tokenizer(kind)
    encoder = SentenceEncoder(own, 80)
    for language in LANGUAGES[1:]:
        for record in Translations(("english", language), 8, seed=5):
            encoded = encoder.encode(record)
            for side, text in enumerate(encoded.texts):
                for entity in of_meta(record.meta, side, text):
                    places = encoded.tokens_of(entity, side)
                    assert np.array_equal(places, np.arange(places[0], places[-1] + 1))
                    start, end = encoded.offsets[places[0]][0], encoded.offsets[places[-1]][1]
                    assert text[start:end].strip() == text[entity.start : entity.end]
                    around = set(range(encoded.length)) - set(places.tolist())
                    touching = [
                        place
                        for place in around
                        if encoded.side[place] == side
                        and encoded.offsets[place][0] < entity.end
                        and encoded.offsets[place][1] > entity.start
                    ]
                    assert not touching


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_an_entity_of_two_words_with_combining_marks(kind):
    text = "\u0928\u0926\u0940 \u0915\u0947 \u092a\u093e\u0938 Zoe\u0308 Va\u0301n lifts"
    start = text.index("Zo")
    encoded = SentenceEncoder(encoders.tokenizer(kind), 80).encode(Document(content=text))
    places = encoded.tokens_of(Entity(start, text.index(" lifts"), "NE"))
    covered = {at for place in places for at in range(*encoded.offsets[place])}
    marks = {at for at, letter in enumerate(text) if unicodedata.combining(letter)}
    assert set(range(start, text.index(" lifts"))) - covered <= {text.index(" Va")} | marks
    assert not covered & set(range(start - 1)) and max(covered) < text.index("lifts")


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_a_pair_holds_both_sides_and_is_cut_at_the_longer(kind):
    own = encoders.tokenizer(kind)
    encoder = SentenceEncoder(own, 40)
    short, long = "Ada opens the door", " ".join(["Boris paints the old bridge"] * 8)
    encoded = encoder.encode(pair(short, long))
    assert encoded.length == 40 and set(encoded.side) == {-1, 0, 1}
    assert encoded.input_ids[0] == own.cls_token_id and encoded.input_ids[-1] == own.sep_token_id
    alone = encoder.encode(Document(content=short))
    assert (encoded.side == 0).sum() == alone.labelled
    numbers, _ = columns(encoded, [[], [Entity(0, 5, "NE"), Entity(len(long) - 6, len(long), "NOUN")]])
    assert numbers.max() == 0  # what was cut off is no entity
    for record in (Document(content=" "), pair(short, " ")):
        with pytest.raises(ValueError, match="a text is empty"):
            encoder.encode(record)
    with pytest.raises(ValueError, match="a text in 3 languages"):
        encoder.encode(Group(relation="translation", items=("a", "b", "c")))
    slow = type("Slow", (), {"is_fast": False})()
    with pytest.raises(ValueError, match="use a fast one"):
        SentenceEncoder(slow)


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_a_saved_encoder_is_loaded_and_a_text_has_its_vector_alone(kind, tmp_path):
    bundle = load(encoders.save(kind, tmp_path / kind))
    assert bundle.family.kind == "encoder" and bundle.encoder.max_length <= 80
    texts = ["Ada opens the door", "Boris", "Clara paints the old bridge near the river again"]
    together = bundle.embed(texts, batch_size=2)
    for place, text in enumerate(texts):
        torch.testing.assert_close(bundle.embed([text])[0], together[place], atol=1e-5, rtol=0)
    batch = bundle.collator()([bundle.encoder.encode(Document(content=text)) for text in texts])
    with torch.no_grad():
        takes = {
            name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch
        }
        states = bundle.model.base_model(**takes).last_hidden_state
    kept = ~batch["special"][0]
    torch.testing.assert_close(states[0][kept].mean(0), together[0], atol=1e-5, rtol=0)


def test_an_encoder_is_not_talked_to(tmp_path, capsys):
    from vitrail.cli.main import main

    folder = encoders.save("modernbert", tmp_path / "encoder")
    assert main(["chat", str(folder), "Who?"]) == 2
    assert "which writes no text" in capsys.readouterr().err


def test_an_encoder_without_its_head_is_refused(tmp_path):
    encoders.model("bert").base_model.save_pretrained(tmp_path / "bare")
    encoders.tokenizer("bert").save_pretrained(tmp_path / "bare")
    with pytest.raises(ValueError, match="do not fit its configuration"):
        load(tmp_path / "bare")

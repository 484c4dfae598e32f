"""Tuning data: personalised rows of RAP's kind, and RagLLaVA's yes, no and distractors."""

from __future__ import annotations

import random

import pytest

from conftest import chat, picture
from memories import png
from vitrail.curation.personal_data import TASKS, Thing, avatar, personal_chats
from vitrail.curation.reranking_examples import Candidate, inject_distractor, rerank_examples
from vitrail.data.records import Image


def things(count=5):
    return [
        Thing(picture(seed, (40, 30)), (4, 6, 24, 26), f"is thing number {seed}.", "thing")
        for seed in range(count)
    ]


def words(message):
    return "".join("#" if part.type == "image" else part.text for part in message.content)


def test_rows_have_their_pictures_and_noise_never_changes_the_answer():
    plain, noisy = (list(personal_chats(things(), noise=noise, seed=3)) for noise in (0, 2))
    assert len(plain) == len(noisy) == 5 * (len(TASKS) + 1)
    for one, other in zip(plain, noisy, strict=True):
        task = one.meta["task"]
        assert one.id == other.id
        assert (
            len(one.images) == (1 if task == "description" else 2)
            and len(other.images) == len(one.images) + 2
        )
        if task != "description":
            assert one.images[0] == other.images[0] == things()[int(one.id.split("-")[0])].picture
        first, second = one.meta["concept"], other.meta["concept"]
        assert one.messages[1].text.replace(first, "X") == other.messages[1].text.replace(second, "X")
        assert words(other.messages[0]).count(" Name: <") == 3
        assert f"Name: <{second}>" in words(other.messages[0])
    answers = [one.messages[1].text for one in noisy if one.meta["task"] == "recognition"]
    assert answers.count("Yes") == answers.count("No") == 5
    boxes = {one.messages[1].text for one in noisy if one.meta["task"] == "grounding"}
    assert boxes == {"[0.10,0.20,0.60,0.87]"}
    assert {words(one.messages[0]).index("[0.") for one in noisy if one.meta["task"] == "description"} == {1}


def test_rows_follow_from_the_arguments_alone():
    assert list(personal_chats(things(), seed=1)) == list(personal_chats(things(), seed=1))
    assert list(personal_chats(things(), seed=1)) != list(personal_chats(things(), seed=2))


def test_only_answers_are_learnt(saved_family):
    from vitrail.models.loading import load

    bundle = load(str(saved_family("qwen2_vl")))
    row = next(personal_chats(things(), tasks=("recognition",)))
    encoded = bundle.encoder.encode(row)
    learnt = encoded.input_ids[encoded.labels >= 0]
    assert list(learnt[: len(bundle.encoder.text_ids("Yes"))]) == bundle.encoder.text_ids("Yes")
    assert list(learnt) == bundle.encoder.answer_ids("Yes")


def test_avatars():
    thing = things()[0]
    whole = thing.picture.open()
    assert avatar(thing).open().tobytes() == whole.crop(thing.box).tobytes()
    moved = {avatar(thing, random.Random(seed)).bytes for seed in range(5)}
    assert len(moved) == 5
    with pytest.raises(ValueError, match="not inside its picture"):
        avatar(Thing(thing.picture, (0, 0, 41, 5), ""))
    with pytest.raises(ValueError, match="give more things"):
        list(personal_chats(things(2), noise=1))
    with pytest.raises(ValueError, match="'caption' is unknown"):
        list(personal_chats(things(), tasks=("caption",)))


CORPUS = [
    Candidate(name, Image(bytes=png((n * 40, 9, 9))), f"caption {name}") for n, name in enumerate("abcd")
]


def test_the_rerankers_examples_are_every_right_picture_and_the_hardest_wrong_ones():
    found = rerank_examples("which?", CORPUS, [CORPUS[0], CORPUS[2]])
    assert [one.messages[1].text for one in found] == ["Yes", "Yes", "No"]
    assert [one.images[0] for one in found] == [CORPUS[n].image for n in (0, 2, 1)]
    assert all("Image Caption: caption" in one.messages[0].text for one in found)
    with pytest.raises(ValueError, match="1 are wrong, and 2"):
        rerank_examples("which?", CORPUS[:2], CORPUS[:1], negatives=2)
    with pytest.raises(ValueError, match="no right picture"):
        rerank_examples("which?", CORPUS, [])


def test_a_distractor_stands_on_either_side_and_changes_no_answer():
    one, negatives = chat("what is it", "a cat"), [picture(7), picture(8)]
    found = [inject_distractor(one, negatives, random.Random(seed)) for seed in range(12)]
    assert {other.images.index(one.images[0]) for other in found} == {0, 1}
    assert all(len(other.images) == 2 and other.messages[1] == one.messages[1] for other in found)
    two = chat("what is it", "a cat", images=2)
    assert inject_distractor(two, [], random.Random(0)) is two
    with pytest.raises(ValueError, match="no hard negative"):
        inject_distractor(one, [], random.Random(0))
    with pytest.raises(ValueError, match="no picture"):
        inject_distractor(chat("what", "a", images=0), negatives, random.Random(0))

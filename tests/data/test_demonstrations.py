"""Few-shot chats: how demonstrations are shown, and documents as demonstrations."""

from __future__ import annotations

import pytest

from conftest import chat, picture
from vitrail.data.demonstrations import APART, exchanges, pictures_apart, shown
from vitrail.data.interleaved_shots import InterleavedShots, pairs_of
from vitrail.data.media import map_media, rebase
from vitrail.data.records import Chat, Document, Image, Message, Text
from vitrail.data.sources import ListSource, concat


def few_shot(k=2, last="assistant"):
    turns = []
    for n in range(k + 1):
        turns.append({"role": "user", "content": [picture(n), {"type": "text", "text": f"what {n}?"}]})
        turns.append({"role": "assistant", "content": f"a {n}"})
    return Chat(messages=turns if last == "assistant" else turns[:-1])


def test_exchanges_are_counted_up_to_the_question():
    assert exchanges(few_shot(3)) == exchanges(few_shot(3, "user")) == 3
    assert exchanges(chat("hello")) == 0
    with pytest.raises(ValueError, match="turn 1 is no part of a demonstration"):
        exchanges(Chat(messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}] * 2))


def test_pictures_apart_follow_their_record():
    one = shown(few_shot(2, "user"), "apart")
    assert [len(some) for some in pictures_apart(one)] == [1, 1] and len(one.images) == 1
    assert Chat.model_validate_json(one.model_dump_json()).meta[APART] != []
    again = Chat.model_validate_json(one.model_dump_json())
    assert [some[0].bytes for some in pictures_apart(again)] == [
        some[0].bytes for some in pictures_apart(one)
    ]
    stored = again.model_copy(update={"meta": {APART: [[{"type": "image", "path": "a/b.png"}]]}})
    assert pictures_apart(rebase(stored, "up"))[0][0].path == "up/a/b.png"
    assert pictures_apart(map_media(stored, lambda _: Image(path="c.png")))[0][0].path == "c.png"
    with pytest.raises(ValueError, match="must be a list with the pictures"):
        pictures_apart(again.model_copy(update={"meta": {APART: ["a.png"]}}))


def test_sources_in_other_folders_keep_them(tmp_path):
    held = Chat(messages=few_shot(1).messages[:2], meta={APART: [[Image(path="a.png")]]})
    sources = [ListSource([held], name, root=tmp_path / name) for name in ("one", "two")]
    assert pictures_apart(concat(*sources)[1])[0][0].path == "two/a.png"


def test_what_cannot_be_shown():
    with pytest.raises(ValueError, match="the chat has 2 demonstrations, not 3"):
        shown(few_shot(2), "text", 3)
    blind = few_shot(1).messages
    blind = (Message(role="user", content=(Text(text="what?"),)), *blind[1:])
    with pytest.raises(ValueError, match="demonstration 0 has no picture"):
        shown(Chat(messages=blind), "apart")
    mute = (
        Message(role="user", content=(picture(1),)),
        Message(role="assistant", content=(Text(text=""),)),
        *few_shot(1).messages[2:],
    )
    with pytest.raises(ValueError, match="demonstration 0 has no text"):
        shown(Chat(messages=mute), "apart")


def document(n, id="d"):
    parts = [Text(text="A page.\n")]
    for place in range(n):
        parts += [picture(place), Text(text=f" caption {place}\n")]
    return Document(id=id, content=tuple(parts))


def test_pairs_of_a_document():
    assert [text for _, text in pairs_of(document(3))] == ["caption 0", "caption 1", "caption 2"]
    before = Document(content=(Text(text="first"), picture(1), picture(2), Text(text="both"), picture(3)))
    assert [text for _, text in pairs_of(before)] == ["first", "both"]


def test_documents_become_demonstrations():
    source = InterleavedShots(ListSource([document(5), document(1, "short"), document(3)]), k_max=3)
    assert len(source) == 2 and "1 pictures with a text are too few" in str(source.set_aside.rows[0])
    ks = set()
    for seed in range(12):
        for one in InterleavedShots(ListSource([document(5)]), k_max=3, seed=seed):
            k = one.meta["groups"]["k"]
            ks.add(k)
            assert len(pictures_apart(one)) == k and len(one.images) == 1
            numbers = [int(turn.text[-1]) for turn in one.messages if turn.role == "assistant"]
            assert numbers == list(range(numbers[0], numbers[0] + k + 1)), "consecutive pairs"
            assert [turn.weight for turn in one.messages if turn.role == "assistant"] == [0.0] * k + [1.0]
    assert ks == {1, 2, 3}
    plain = InterleavedShots(ListSource([document(5)]), k_max=3, show="pictures", request="What?")[0]
    assert len(plain.images) == plain.meta["groups"]["k"] + 1 and plain.messages[0].text == "What?"
    with pytest.raises(ValueError, match="is a chat; demonstrations are made of documents"):
        InterleavedShots(ListSource([few_shot()]), k_max=1)
    with pytest.raises(ValueError, match="no document of list has two pictures"):
        InterleavedShots(ListSource([document(1)]), k_max=1)

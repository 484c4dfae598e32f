"""Things with names of their own: what is asked, what the prompt holds, and what a memory is told."""

from __future__ import annotations

from functools import partial

import pytest
from PIL import Image as PILImage

from vitrail.data.scenes.belongings import KEEPERS
from vitrail.data.scenes.named_things import NamedThings

SUITE = "nano-scenes-v1"
named = partial(NamedThings, SUITE)


def words(message):
    return "".join("#" if part.type == "image" else part.text for part in message.content)


def right(chat):
    return chat.choices.options[chat.choices.answer][0].text


@pytest.fixture(scope="module")
def asked():
    return named(names="held-out", fold="test", n=60, asked=True, seed=5)


def test_every_answer_is_what_the_memory_and_the_scene_say(asked):
    keeper = {one.name: one.info.rsplit(" ", 1)[1].strip(".") for one in asked.memory()}
    assert set(keeper.values()) <= set(KEEPERS) and len(keeper) == 16
    for index, chat in enumerate(asked):
        kind, (there,) = chat.meta["kind"], chat.meta["present"]
        text = words(chat.messages[0])
        assert text.startswith("#") and "[" not in text and there in keeper
        things = [one["name"] for one in chat.meta["scene"]["objects"]]
        assert things[0] == asked.row(index).present[0].own_name
        assert len(chat.meta["boxes"]) == len(things)
        options = [option[0].text for option in chat.choices.options]
        assert len(set(options)) == len(options) == (2 if kind == "there" else 4)
        if kind == "which":
            assert right(chat) == f"<{there}>" and {one.strip("<>") for one in options} <= set(keeper)
        elif kind == "whose":
            assert right(chat) == keeper[there]
        elif kind == "else":
            assert right(chat).split(" ", 1)[-1] in things[1]
        else:
            name = text.split("<")[1].split(">")[0]
            if kind == "about":
                assert right(chat) == keeper[name] and name != there
            else:
                assert right(chat) == ("Yes" if name == there else "No")


def test_yes_and_no_are_as_many_and_half_of_what_is_not_there_is_of_a_kind():
    source = named(n=64, asked=True, kinds=["there"])
    assert [right(one) for one in source] == ["Yes", "No"] * 32
    rows = [source.row(index) for index in range(1, 64, 2)]
    alike = [row.subject.category == row.present[0].category for row in rows]
    assert all(alike[1::2]) and not all(alike[::2])


def test_a_conversation_says_what_its_prompt_and_scene_say():
    source = named(n=40)
    counts, noise = set(), set()
    for index, chat in enumerate(source):
        row = source.row(index)
        first = words(chat.messages[0])
        counts.add(len(row.present))
        noise.add(len(row.shown) - len(row.present))
        assert len(chat.images) == 1 + len(row.shown) and {one.name for one in row.present} <= {
            one.name for one in row.shown
        }
        told = {line.split("<")[1].split(">")[0]: line for line in first.splitlines() if " Name: " in line}
        assert list(told) == [one.name for one in row.shown]
        for question, answer in zip(chat.messages[::2], chat.messages[1::2], strict=True):
            text, said = words(question).rsplit("]", 1)[-1], words(answer)
            if text.startswith("Is <"):
                assert said == ("Yes" if text[4:10] in chat.meta["present"] else "No")
            elif text.startswith("Who keeps <"):
                assert said in told[text.split("<")[1].split(">")[0]]
            elif text.startswith("Describe"):
                assert all(f"<{name}>" in said for name in chat.meta["present"])
            elif not text.startswith("What else"):
                (there,) = chat.meta["present"]
                assert said == f"<{there}>" if text.startswith("Which") else said in told[there]
    assert counts == {0, 1, 2} and noise == {0, 1, 2}


def test_names_are_drawn_anew_in_every_conversation_or_once_or_again():
    def called(**settings):
        source = named(n=24, kinds=["there"], **settings)
        found = {}
        for index in range(24):
            for one in source.row(index).shown:
                found.setdefault(one.own_name, set()).add(one.name)
        return found

    anew, once, again = called(), called(naming="things"), called(naming="things", edition=1)
    assert max(map(len, anew.values())) > 1 and set(map(len, once.values())) == {1}
    assert all(once[name].isdisjoint(again[name]) for name in once.keys() & again.keys())
    assert {len(one.name) for one in named(syllables=2).memory()} == {4}


def test_prompts_differ_in_their_entries_alone():
    prompts = ("pictures", "lines", "nothing")
    full, lines, nothing = (list(named(n=8, prompt=one)) for one in prompts)
    for one, two, three in zip(full, lines, nothing, strict=True):
        assert one.images[0] == two.images[0] == three.images[0]
        assert len(two.images) == len(three.images) == 1 < len(one.images)
        assert words(one.messages[0]).replace("#", "") == words(two.messages[0]).replace("#", "")
        assert words(three.messages[0])[1:] == words(one.messages[0]).rsplit("]", 1)[1]
        assert one.messages[1:] == two.messages[1:] == three.messages[1:]
    bare = named(n=20, noise=0)
    assert all({*row.shown} == {*row.present} for row in map(bare.row, range(20)) if row.present)


def test_a_memory_that_is_mixed_up_tells_of_the_next_thing(asked):
    wrong = named(names="held-out", fold="test", n=60, asked=True, seed=5, mixed_up=True)
    plain, mixed = asked.memory(), wrong.memory()
    assert [one.name for one in mixed] == [one.name for one in (*plain[1:], plain[0])]
    assert [one.picture for one in mixed] == [one.picture for one in plain]
    for one, other in zip(plain, mixed, strict=True):
        assert other.info == one.info.replace(one.name, other.name) != one.info
    assert wrong[3] == asked[3] and wrong.fingerprint != asked.fingerprint


def test_captions_are_asked_alone():
    chats = list(named(n=12, asked=True, kinds=["caption"]))
    assert all(len(one.messages) == 2 and one.choices is None for one in chats)
    assert all(f"<{name}>" in one.messages[1].text for one in chats for name in one.meta["present"])
    with pytest.raises(ValueError, match="caption"):
        named(asked=True, kinds=["caption", "which"])


@pytest.mark.parametrize("kind", ["which", "there", "about", "whose", "else", "caption"])
def test_a_conversation_of_one_kind_is_never_empty(kind):
    assert all(len(one.messages) >= 2 for one in named(n=24, kinds=[kind], noise=0))


def test_records_depend_on_their_place_alone():
    source = named(n=6)
    assert [source[5], source[2]] == [list(source)[5], list(source)[2]]
    assert source[5] == named(n=30)[5] != named(n=6, seed=1)[5]
    pictures = [
        {one.images[0].bytes for one in named(n=6, asked=True, fold=fold)} for fold in ("development", "test")
    ]
    assert pictures[0].isdisjoint(pictures[1])


@pytest.fixture
def folder(tmp_path):
    for place, colour in {"pets/grey-cat": "gray", "pets/rex": "brown", "mugs/mug_a": "red"}.items():
        path = tmp_path / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        PILImage.new("RGB", (30, 20), colour).save(path)
    (tmp_path / "pets" / "rex.txt").write_text("<rex> is our dog,\nhe is nine.\n")
    return tmp_path


def test_a_folder_of_pictures_keeps_its_names_and_lines(folder):
    source = NamedThings(str(folder), n=12)
    assert {one.name: (one.info, one.category) for one in source.memory()} == {
        "grey cat": ("<grey cat> is one of pets.", "pets"),
        "rex": ("<rex> is our dog, he is nine.", "pets"),
        "mug a": ("<mug a> is one of mugs.", "mugs"),
    }
    assert source.kinds == ("which", "there", "caption")
    for chat in source:
        assert set(chat.meta["present"]) <= {"grey cat", "rex", "mug a"} and chat.meta["present"]
    asked = NamedThings(str(folder), n=8, asked=True)
    assert {one.meta["kind"] for one in asked} == {"which", "there"}
    assert {right(one) for one in asked if one.meta["kind"] == "which"} <= {"<grey cat>", "<rex>", "<mug a>"}
    (folder / "pets" / "rex.txt").write_text("is ten.")
    assert NamedThings(str(folder), n=12).fingerprint != source.fingerprint


def test_what_cannot_be_asked_about(folder, tmp_path):
    for settings, message in [
        ({"names": "held-out"}, "not for training"),
        ({"kinds": ["where"]}, "kinds has"),
        ({"noise": -1}, "noise is -1"),
        ({"n": 0}, "n is 0"),
        ({"syllables": 1}, "syllables is 1"),
        ({"turns": (3, 2)}, r"turns is \[3, 2\]"),
        ({"things": str(folder), "kinds": ["whose"]}, "kinds has"),
        ({"things": "nowhere"}, "no suite is called 'nowhere'"),
    ]:
        with pytest.raises(ValueError, match=message):
            NamedThings(**{"things": SUITE, "n": 4, **settings})
    (alone := tmp_path / "alone").mkdir()
    PILImage.new("RGB", (9, 9)).save(alone / "one.png")
    with pytest.raises(ValueError, match="holds one picture"):
        NamedThings(str(alone))

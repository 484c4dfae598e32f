import hashlib
import json
import multiprocessing
from importlib import resources

import numpy as np
import pytest

from vitrail.data.records import Chat
from vitrail.data.scenes import SceneSuite, suite, suites
from vitrail.data.scenes.planner import KINDS, NAMELESS
from vitrail.data.sources import Source
from vitrail.data.sprites import library

# scenes-v1 is frozen: if one of these fails, the change belongs into a new suite.
FILE = "592586c1e4df28cff5e723f857895cb9e0509f3efceedfb9205c9a501294ec85"
FINGERPRINT = "5b8e6ef1ef9c9058553023fdeef22d79b5b41842c1f9cc6466788f367181f7a3"
PIXELS_AND_TRUTH = {
    "questions test known 0 0": "0dfcc89a7c9489ca4147a2e782a143136c2b48d103d5a081a98e6e5674b36bba",
    "questions test held-out 0 1": "7983a395d25de4f6add824acc90a2472329839e094e95aa20ab8e44d17ba2138",
    "questions test development 3 2": "79fd80ffff3329524b309259786a4f228820439f3e203dadd828fafacd02ba3f",
    "conversations train known 0 5": "07a58b04ac2695007569b80db1ad41844bd99f92f0cb846dabf78a694aa343e2",
}
TEXTS = "0b76f353a2b6ba2b752c07c7ef4bb7affb42dcee9101f06238762fcb3c3d6c22"


def digest(scene):
    truth = json.dumps(scene.describe(), sort_keys=True).encode()
    return hashlib.sha256(scene.pixels.tobytes() + truth).hexdigest()


def test_the_file_is_frozen(scenes_v1):
    raw = resources.files("vitrail.data.scenes").joinpath("scenes_v1.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == FILE
    assert scenes_v1.fingerprint == FINGERPRINT
    assert suites() == ["nano-scenes-large-v1", "nano-scenes-v1", "scenes-v1"]


@pytest.mark.parametrize("item", PIXELS_AND_TRUTH)
def test_scenes_are_frozen(scenes_v1, item):
    use, fold, names, seed, index = item.split()
    scene = scenes_v1.scene(fold, names, int(seed), int(index), use=use)
    assert digest(scene) == PIXELS_AND_TRUTH[item]


def test_texts_are_frozen(scenes_v1):
    chats = [*scenes_v1.questions(n=12), *scenes_v1.conversations(n=6)]
    said = [[message.text for message in chat.messages] for chat in chats]
    offered = [[option[0].text for option in chat.choices.options] for chat in chats if chat.choices]
    assert hashlib.sha256(json.dumps([said, offered]).encode()).hexdigest() == TEXTS


def test_the_split_is_disjoint_and_stratified(scenes_v1):
    parts = scenes_v1.config.split
    names = [name for part in parts.values() for name in part]
    assert len(names) == len(set(names)) == len(scenes_v1.library) and set(parts) == {
        "helpers", "train", "development", "test"
    }  # fmt: skip
    shares = {part: len(members) / len(names) for part, members in parts.items()}
    assert shares == pytest.approx(
        {"helpers": 0.15, "train": 0.55, "development": 0.12, "test": 0.18}, abs=0.015
    )
    for kind, members in scenes_v1.library.kinds.items():
        for part in parts.values():
            assert set(members) & set(part), f"no {kind}"
    colours = set(scenes_v1.config.colours.values())
    for part in parts.values():
        assert {scenes_v1.config.colours.get(name) for name in part} - {None} == colours


def test_frozen_colours_are_those_of_the_pixels(scenes_v1):
    fresh = library("openmoji")
    sample = list(fresh.names)[::6]
    assert {name: fresh.colour(name) for name in sample} == {
        name: scenes_v1.config.colours.get(name) for name in sample
    }


@pytest.mark.parametrize(
    ("names", "kinds"), [("known", KINDS), ("held-out", NAMELESS), ("development", NAMELESS)]
)
def test_questions(scenes_v1, names, kinds):
    source = scenes_v1.questions(fold="test", names=names, n=2 * len(kinds))
    assert isinstance(source, Source) and len(source) == 2 * len(kinds)
    own, foreign = set(scenes_v1.names(names)), set(scenes_v1.names("known")) - set(scenes_v1.names(names))
    for index, chat in enumerate(source):
        assert isinstance(chat, Chat) and chat == source[index]
        assert chat.meta["kind"] == kinds[index % len(kinds)] and len(chat.choices.options) == 4
        assert len(chat.messages) == 1 and chat.messages[0].content[0].type == "image"
        scene = scenes_v1.scene("test", names, 0, index)
        assert chat.images[0].bytes == scene.png and chat.meta["scene"] == scene.describe()
        shown = {item.name for item in scene.objects}
        assert shown <= own and not shown & foreign
        if names != "known":
            words = " ".join([chat.messages[0].text, *(option[0].text for option in chat.choices.options)])
            assert not any(f" {name} " in f" {words} " for name in shown - {"hammer"}), words


def test_conversations(scenes_v1):
    source = scenes_v1.conversations(n=40)
    lengths = set()
    for chat in source:
        roles = [message.role for message in chat.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert len(chat.images) == 1 and chat.messages[0].content[0].type == "image"
        lengths.add(len(roles) // 2)
        asked = [message.text for message in chat.messages[::2]]
        assert len(set(asked)) == len(asked)
        assert all(0 < len(message.text) < 160 for message in chat.messages)
        assert len(chat.meta["kinds"]) == len(asked)
    assert max(lengths) == 6 and min(lengths) >= 2
    kinds = [kind for chat in source for kind in chat.meta["kinds"]]
    assert set(kinds) == {"caption", *KINDS}
    assert source[7].images[0].bytes == source.scene(7).png


def test_no_answer_is_given_away_before_it_is_asked(scenes_v1):
    for chat in scenes_v1.conversations(n=120, turns=(5, 6)):
        texts = [message.text.lower() for message in chat.messages]
        kinds = chat.meta["kinds"]
        free = [turn for turn, kind in enumerate(kinds) if kind not in ("what", "kind", "colour")]
        first_free = free[0] if free else len(kinds)
        for turn, kind in enumerate(kinds):
            if kind == "what" and turn > first_free:
                name = texts[2 * turn + 1].removeprefix("an ").removeprefix("a ")
                assert name not in " ".join(texts[: 2 * turn]), texts


def test_turns_and_kinds_are_obeyed(scenes_v1):
    for chat in scenes_v1.conversations(n=10, turns=(1, 1), kinds=("caption",)):
        assert len(chat.messages) == 2 and chat.meta["kinds"] == ["caption"]
    for chat in scenes_v1.conversations(n=10, turns=(2, 3), kinds=("what", "where")):
        assert set(chat.meta["kinds"]) <= {"what", "where"}


def _some(indices):
    source = suite("scenes-v1").questions(n=8, seed=5)
    return {i: (source[i].images[0].bytes, source[i].choices) for i in indices}


def test_order_and_processes_do_not_matter():
    expected = _some(range(8))
    assert _some([5, 1]) == {i: expected[i] for i in (5, 1)}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        parts = pool.map(_some, [[7, 0, 2], [3, 6]])
    assert {**parts[0], **parts[1]} == {i: expected[i] for i in (7, 0, 2, 3, 6)}


def test_longer_sources_begin_alike_and_streams_are_apart(scenes_v1):
    assert scenes_v1.questions(n=3)[2] == scenes_v1.questions(n=300)[2]
    pictures = {
        scenes_v1.questions(fold=fold, names=names, seed=seed, n=1)[0].images[0].bytes
        for fold, names in (
            ("train", "known"),
            ("development", "known"),
            ("test", "known"),
            ("test", "helpers"),
        )
        for seed in (0, 1)
    }
    assert len(pictures) == 8
    assert scenes_v1.questions(seed=1, n=1)[0] != scenes_v1.questions(seed=0, n=1)[0]
    assert scenes_v1.questions(n=5).fingerprint != scenes_v1.questions(n=5, seed=1).fingerprint


def test_what_makes_no_sense_is_refused(scenes_v1):
    with pytest.raises(ValueError, match="not for training"):
        scenes_v1.conversations(fold="train", names="held-out")
    with pytest.raises(ValueError, match="fold is 'validation'"):
        scenes_v1.questions(fold="validation")
    with pytest.raises(ValueError, match="names is 'heldout'; did you mean 'held-out'"):
        scenes_v1.questions(names="heldout")
    with pytest.raises(ValueError, match=r"kinds has \['what'\]; names 'held-out' allow kind, count"):
        scenes_v1.questions(names="held-out", kinds=("what",))
    with pytest.raises(ValueError, match=r"turns is \(0, 2\)"):
        scenes_v1.conversations(turns=(0, 2))
    with pytest.raises(ValueError, match="no suite is called 'scenes-v2'"):
        suite("scenes-v2")
    with pytest.raises(IndexError, match="no item 5"):
        scenes_v1.questions(n=5)[5]


def test_other_drawings_are_another_suite(scenes_v1, monkeypatch):
    with pytest.raises(ValueError, match="made of other openmoji drawings than those installed"):
        SceneSuite(scenes_v1.config.model_copy(update={"drawings": "0" * 64}))


def test_a_suite_of_ones_own_pictures(tmp_path):
    from PIL import Image

    shades = {"red": (214, 48, 42), "blue": (75, 150, 225), "green": (80, 165, 60)}
    for kind in ("alpha", "beta", "gamma", "delta", "epsilon"):
        (tmp_path / "things" / kind).mkdir(parents=True)
        for i in range(14):
            picture = np.zeros((60, 60, 4), np.uint8)
            picture[5:55, 5:55] = (*list(shades.values())[i % 3], 255)
            Image.fromarray(picture).save(tmp_path / "things" / kind / f"{kind}{i}.png")
    folder = str(tmp_path / "things")
    mine = SceneSuite.draw("mine", library(folder), folder, seed=3, most=3)
    mine.write(tmp_path / "mine.json")
    again = suite(str(tmp_path / "mine.json"))
    assert again.fingerprint == mine.fingerprint
    assert again.questions(n=2, kinds=("what",))[1] == mine.questions(n=2, kinds=("what",))[1]
    chat = next(iter(again.conversations(n=1)))
    assert chat.messages[1].text

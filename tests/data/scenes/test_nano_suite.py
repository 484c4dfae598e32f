"""nano-scenes-v1: frozen, small, split as scenes-v1 is, other scenes for another seed."""

import hashlib
import json
from importlib import resources

import pytest

from vitrail.data.scenes import suite
from vitrail.data.scenes.planner import KINDS, NAMELESS

# The suite is frozen: if one of these fails, the change belongs into a new suite.
FILE = "292fa4c60e338dabf78a72c0d7486b51f1bfcfc18c61bb9178d312fa84562e64"
LARGE_FILE = "2683726ea0c0265e01940f8c650c4c6f574ec9f53ce10dd9ca6aeca5b68945e7"
LARGE_PIXELS_AND_TRUTH = "3977c12c67b0103fba803dba3e5aa65c10e625b23746cead5e41c7087a8c1417"
PIXELS_AND_TRUTH = "7ac6698a949c8f88545334bbe1235671280865563f701540d6253830d51c981f"


@pytest.fixture(scope="module")
def nano():
    return suite("nano-scenes-v1")


def test_it_is_frozen(nano):
    raw = resources.files("vitrail.data.scenes").joinpath("nano_scenes_v1.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == FILE
    digest = hashlib.sha256()
    for fold, names, use in (("train", "known", "conversations"), ("test", "held-out", "questions")):
        for index in range(4):
            scene = nano.scene(fold, names, 3, index, use=use)
            digest.update(scene.pixels.tobytes() + json.dumps(scene.describe(), sort_keys=True).encode())
    assert digest.hexdigest() == PIXELS_AND_TRUTH


def test_the_large_one_is_frozen_and_has_the_same_names(nano):
    raw = resources.files("vitrail.data.scenes").joinpath("nano_scenes_large_v1.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == LARGE_FILE
    large = suite("nano-scenes-large-v1")
    assert large.config.split == nano.config.split and large.config.side == 2 * nano.config.side
    digest = hashlib.sha256()
    for index in range(4):
        scene = large.scene("test", "known", 3, index, use="questions")
        digest.update(scene.pixels.tobytes() + json.dumps(scene.describe(), sort_keys=True).encode())
    assert digest.hexdigest() == LARGE_PIXELS_AND_TRUTH


def test_names_are_disjoint_and_where_the_large_suite_has_them(nano):
    large = suite("scenes-v1").config.split
    parts = nano.config.split
    every = [name for names in parts.values() for name in names]
    assert len(every) == len(set(every))
    for part, names in parts.items():
        assert set(names) <= set(large[part])
        assert {nano.library[name].kind for name in names} == {
            nano.library[name].kind for name in parts["train"]
        }


@pytest.mark.parametrize(
    ("names", "kinds"), [("known", KINDS), ("development", NAMELESS), ("held-out", NAMELESS)]
)
def test_every_kind_of_question_is_asked_and_no_option_gives_itself_away(nano, names, kinds):
    source = nano.questions("test", names, seed=0, n=240)
    assert nano.kinds(names) == kinds
    chats = list(source)
    assert {chat.meta["kind"] for chat in chats} == set(kinds)
    assert all(chat.images[0].open().size == (64, 64) for chat in chats[:6])
    for kind in kinds:
        places = [chat.choices.answer for chat in chats if chat.meta["kind"] == kind]
        assert all(places.count(place) < 0.5 * len(places) for place in range(4)), kind


def test_a_seed_and_a_fold_draw_other_scenes(nano):
    def pictures(fold, seed):
        return {chat.images[0].bytes for chat in nano.questions(fold, "known", seed, 40)}

    test = pictures("test", 0)
    assert test == pictures("test", 0) and len(test) == 40
    assert (
        not test & pictures("test", 1)
        and not test & pictures("development", 0)
        and not test & pictures("train", 0)
    )


def test_held_out_names_are_not_for_training(nano):
    with pytest.raises(ValueError, match="not for training"):
        nano.conversations("train", names="held-out")

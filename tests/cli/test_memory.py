"""``vitrail memory``: add, list, forget and ask."""

from __future__ import annotations

import json

import pytest
from PIL import Image as PILImage

import dual_encoders
import families
from vitrail.inference.concepts import ConceptStore

COLOURS = {"Rex": (200, 30, 30), "Mia": (30, 200, 30), "Tom": (30, 30, 200)}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("memory")
    dual_encoders.save("clip", root / "clip", context=48)
    for name, colour in COLOURS.items():
        PILImage.new("RGB", (40, 24), colour).save(root / f"{name}.png")
    return root


@pytest.fixture
def filled(run, places, tmp_path):
    path = tmp_path / "memory"
    for name in COLOURS:
        words = ["--image", places / f"{name}.png", "--info", f"<{name}> is mine", "--category", "dog"]
        code, _, err = run("memory", "add", path, name, *words, "--encoder", places / "clip", "--json")
        assert code == 0, err
    return path


def test_what_is_added_is_listed_and_what_is_forgotten_is_not(run, filled):
    code, out, _ = run("memory", "list", filled, "--json")
    told = json.loads(out)
    assert code == 0 and [one["name"] for one in told["concepts"]] == list(COLOURS)
    assert run("memory", "forget", filled, "Rex", "Nobody")[0] == 2
    code, out, _ = run("memory", "forget", filled, "Rex", "--json")
    assert code == 0 and json.loads(out)["concepts"] == 2
    code, out, _ = run("memory", "list", filled)
    assert code == 0 and "Rex" not in out and "Mia" in out
    assert b"Rex" not in filled.read_bytes()


def test_asking_finds_names_first_then_pictures(run, filled, places):
    words = ("--image", places / "Mia.png", "--regions", "whole", "--k", 2, "--json")
    code, out, err = run("memory", "ask", filled, "is <Tom> here?", *words)
    found = json.loads(out)["memories"]
    assert code == 0, err
    assert [(one["name"], one["by"]) for one in found] == [("Tom", "name"), ("Mia", "picture")]
    assert found[1]["distance"] < 1e-3
    code, out, _ = run("memory", "ask", filled, "who is mine", "--k", 1)
    assert code == 0 and "words" in out


def test_a_model_answers_with_what_was_found(run, filled, places):
    model = families.save_family("llava", places / "llava")
    words = ("--image", places / "Tom.png", "--regions", "whole", "--model", model, "--k", 1, "--json")
    code, out, err = run("memory", "ask", filled, "who", *words, "--max-new-tokens", 3)
    told = json.loads(out)
    assert code == 0, err
    assert [one["name"] for one in told["memories"]] == ["Tom"] and isinstance(told["answer"], str)


def test_a_folder_is_remembered_by_the_names_of_its_files(run, places, tmp_path):
    things = tmp_path / "things" / "old-dogs"
    things.mkdir(parents=True)
    for name in COLOURS:
        (things / f"{name}.png").write_bytes((places / f"{name}.png").read_bytes())
    (things / "Mia.txt").write_text("<mia> is my dog,\nshe is nine\n")
    words = ("--from", tmp_path / "things", "--encoder", places / "clip")
    code, _, err = run("memory", "add", tmp_path / "memory", *words)
    assert code == 0, err
    with ConceptStore.open(tmp_path / "memory") as memory:
        told = {one.name: one.info for one in memory.concepts()}
        assert told["mia"] == "<mia> is my dog, she is nine" and told["rex"] == "<rex> is one of old dogs."
        assert memory.categories() == ["old dogs"] and memory.get("tom").opened().size == (40, 24)


def test_the_published_file_is_read_and_written(run, filled, places, tmp_path):
    code, _, err = run("memory", "list", filled, "--out", tmp_path / "out")
    assert code == 0, err
    again = tmp_path / "again"
    words = ("--from", tmp_path / "out" / "database.json", "--encoder", places / "clip")
    assert run("memory", "add", again, *words)[0] == 0
    with ConceptStore.open(filled) as one, ConceptStore.open(again) as other:
        for name in COLOURS:
            assert one.get(name).model_copy(update={"source": ""}) == other.get(name).model_copy(
                update={"source": ""}
            )


def test_wrong_command_lines_name_the_word(run, filled, places, tmp_path):
    picture = places / "Rex.png"
    for words, message in (
        (("add", filled), "one of the two"),
        (("add", filled, "Rex", "--info", "x"), "'Rex' is taken"),
        (("add", filled, "New", "--image", tmp_path / "none.png"), "no picture at"),
        (("add", filled, "New", "--image", picture, "--box", "0,0,99,9"), "not inside the picture"),
        (("add", filled, "New", "--box", "0,0,9,9"), "--image"),
        (("add", filled, "a>b"), "angle brackets"),
        (("add", filled, "New", "--encoder", "minilm"), "has the encoder"),
        (("list", tmp_path / "none"), "no memory at"),
        (("ask", filled), "ask something"),
    ):
        code, _, err = run("memory", *words)
        assert code == 2 and message in err, (words, err)

"""Episodes and demonstrations as a recipe's data: checked when it is read, trained on, asked about."""

from __future__ import annotations

import pytest
import torch

from conftest import picture
from official_files import write_picture
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Document, Text
from vitrail.models.loading import load as load_model
from vitrail.recipes import assembly
from vitrail.recipes.loading import load
from vitrail.recipes.run import run
from vitrail.recipes.sources import open_data

SMALL = {"kind": "episodes", "suite": "nano-scenes-v1", "wording": "short", "n": 6, "side": 32}
PLAIN = {"name": "few", "model": {"testbed": "nano"}}


def recipe(data, **more):
    return load({**PLAIN, "data": data, **more})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"kind": "episodes"}, "give either 'path'"),
        ({**SMALL, "path": "x"}, "give either 'path'"),
        ({"kind": "episodes", "path": "x", "names": "known"}, "it has no effect with 'path'"),
        ({**SMALL, "root": "x"}, "it has no effect with 'suite'"),
        ({**SMALL, "shots": -1}, "give 0 or more examples"),
        ({**SMALL, "wording": {"example": "no mark"}}, "without exactly one <image> mark"),
        ({"kind": "demonstrated", "k_max": 2}, "give either 'path'"),
        ({"kind": "demonstrated", "suite": "nano-scenes-v1", "root": "x"}, "it has no effect with 'suite'"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_recipe_is_read(data, reason):
    with pytest.raises(ValueError, match=reason):
        recipe({"mine": data})


def test_a_folder_is_divided_by_classes(tmp_path):
    for name in range(10):
        for number in range(3):
            write_picture(tmp_path / "mine" / f"thing{name}" / f"{number}.png", 10 * name + number)
    data = {"kind": "episodes", "path": str(tmp_path / "mine"), "policy": "2way-random"}
    classes = {}
    for fold in ("train", "development", "test"):
        source = (
            open_data(recipe({"mine": {**data, "fold": fold}}), "mine", "questions")
            if fold == "train"
            else None
        )
        if source is not None:
            classes[fold] = {one.id for one in source.catalogue}
            assert source[0].choices is not None and source.set_aside.used == len(source)
    assert 0 < len(classes["train"]) < 10
    whole = open_data(recipe({"mine": data}), "mine", "conversations")
    assert len(whole) == 10 and whole[0].choices is None and whole[0].messages[-1].role == "assistant"
    with pytest.raises(ValueError, match=r"data\.mine: there is no folder or file"):
        open_data(recipe({"mine": {**data, "path": str(tmp_path / "other")}}), "mine", "questions")


def test_an_encoder_ranks_neighbours(tmp_path, monkeypatch):
    import numpy as np

    from vitrail.recipes import episode_data

    asked = []

    def features(catalogue, encoder):
        asked.append(encoder)
        return np.eye(len(catalogue)) + np.eye(len(catalogue))[::-1] * 0.5

    monkeypatch.setattr(episode_data, "features_of", features)
    source = open_data(recipe({"mine": {**SMALL, "encoder": "my-clip"}}), "mine", "questions")
    assert asked == ["my-clip"] and source._near[0][0] == len(source.catalogue) - 1


def documents(path, n=4):
    made = []
    for number in range(n):
        parts = []
        for place in range(3):
            parts += [picture(10 * number + place), Text(text=f" it is {place}\n")]
        made.append(Document(id=f"d{number}", content=tuple(parts)))
    write_jsonl(made, path, images="inline")


def test_the_projection_alone_is_trained_and_the_run_asked_by_both_ways(tmp_path, saved_family):
    """Documents → demonstrations → one stage on aim; episodes with examples read apart are asked; saved and loaded."""
    documents(tmp_path / "docs.jsonl")
    whole = recipe(
        {
            "shots": {"kind": "demonstrated", "path": str(tmp_path / "docs.jsonl"), "k_max": 2},
            "asked": {**SMALL, "n": 4, "shots": 1, "show": "apart", "policy": "2way-random", "fold": "test",
                      "names": "held-out", "swapped": True},
        },
        model={"path": str(saved_family("llava")), "surgeries": [{"name": "aim", "init": "random"}]},
        stages=[{"name": "fuse", "data": "shots", "trains": ["aim"], "batch_size": 2, "max_steps": 2}],
        evaluation=[
            {"name": "asked", "data": "asked", "conditions": ["trained", "untrained"]},
            {"name": "banked", "data": "asked", "conditions": ["trained"], "methods": ["aim"]},
        ],
        report={"gallery": 0},
    )  # fmt: skip
    found = run(whole, tmp_path / "run", report=False)
    trained = load_model(tmp_path / "run" / "model").model.state_dict()
    before = assembly.build(whole.model, whole.seed).model.state_dict()
    moved = {name for name, value in trained.items() if not torch.equal(value, before[name])}
    assert moved == {"aim.projection.weight", "aim.projection.bias"}
    assert [found.scores[name]["trained"]["n"] for name in ("asked", "banked")] == [4, 4]


def test_a_model_that_reads_nothing_apart_says_so(nano):
    source = open_data(recipe({"mine": {**SMALL, "show": "apart"}}), "mine", "conversations")
    with pytest.raises(ValueError, match=r"a record has demonstrations apart .* do the surgery 'aim'"):
        nano.collator()([nano.encoder.encode(source[0])])

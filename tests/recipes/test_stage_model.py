"""The model as a stage left it, from a finished run's folder."""

import pytest
import torch

from vitrail.models.loading import load as load_model
from vitrail.recipes.loading import load, plain
from vitrail.recipes.run import run
from vitrail.recipes.stage_model import model_after
from vitrail.storage.runs import RunFolder

FIRST = {"name": "align", "data": "scenes", "trains": ["connector"], "max_steps": 2, "batch_size": 4}
SHORT = {"data.known.n": 8, "data.scenes.n": 8, "stages.tune.max_steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    recipe = plain(load("nano", SHORT))
    recipe["model"]["surgeries"] = [{"name": "moca", "std": 0.1}]
    recipe["stages"] = [FIRST, *recipe["stages"]]
    place = tmp_path_factory.mktemp("run") / "run"
    run(load(recipe), place, device="cpu", report=False)
    return RunFolder(place)


def test_after_the_last_stage_it_is_the_trained_model(folder):
    last, whole = (
        model_after(folder, "tune").model.state_dict(),
        load_model(folder.model_path).model.state_dict(),
    )
    assert last.keys() == whole.keys()
    assert all(torch.equal(last[name], whole[name]) for name in last)


def test_between_stages_it_is_what_a_run_of_the_first_alone_gives(folder, tmp_path):
    recipe = load(folder.recipe())
    alone = load({**plain(recipe), "stages": plain(recipe)["stages"][:1]})
    run(alone, tmp_path / "alone", device="cpu", report=False)
    between = model_after(folder, "align").model
    expected = load_model(RunFolder(tmp_path / "alone").model_path).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in between.state_dict().items())
    last = model_after(folder, "tune").model.state_dict()
    assert any(not torch.equal(tensor, last[name]) for name, tensor in between.state_dict().items())


def test_a_stage_that_is_not_there(folder, tmp_path):
    with pytest.raises(ValueError, match="has no stage 'alinge'; it has align, tune"):
        model_after(folder, "alinge")
    weights = folder.stage("align") / "final.safetensors"
    moved = weights.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="stage 'align' has to be finished"):
        model_after(folder, "tune")
    moved.rename(weights)

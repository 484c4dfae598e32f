"""``gradient_checkpointing: true`` in a recipe saves memory and changes nothing else, for our model and for others'."""

import pytest
from torch.nn import Module

import families
from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.recipes import loading
from vitrail.recipes.run import run
from vitrail.storage.log import read_log


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Records without pictures, with one, with two."""
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    chats = [chat("what is it?", "a cat on a mat", images=i % 3, seed=i, id=f"c{i}") for i in range(12)]
    write_jsonl(chats, path, images="inline")
    return path


@pytest.fixture(scope="module", params=["nano", "llava"])
def model(request, tmp_path_factory):
    if request.param == "nano":
        return {"testbed": "nano"}
    return {
        "path": str(families.save_family(request.param, tmp_path_factory.mktemp("models") / request.param))
    }


def losses(model, data, folder, checkpointing):
    recipe = loading.load(
        {
            "name": "saving",
            "model": model,
            "data": {"train": {"kind": "file", "path": str(data)}},
            "stages": [
                {
                    "name": "tune",
                    "trains": ["tower", "connector", "language"],
                    "max_steps": 4,
                    "batch_size": 3,
                    "precision": "float32",
                    "gradient_checkpointing": checkpointing,
                }
            ],
        }
    )
    run(recipe, folder)
    rows = read_log(next(folder.rglob("metrics.jsonl")))
    return [(row["loss"], row["grad_norm"], row["samples"]) for row in rows]


def test_losses_are_those_without(model, data, tmp_path, monkeypatch):
    enabled = []
    for name in ("gradient_checkpointing_enable", "activation_checkpointing_enable"):
        from transformers import PreTrainedModel

        if hasattr(PreTrainedModel, name):
            plain = getattr(PreTrainedModel, name)

            def noted(self: Module, *args, plain=plain, **options):
                enabled.append(type(self).__name__)
                return plain(self, *args, **options)

            monkeypatch.setattr(PreTrainedModel, name, noted)
    without = losses(model, data, tmp_path / "without", False)
    assert not enabled
    saving = losses(model, data, tmp_path / "saving", True)
    assert enabled
    assert len(without) == 4
    for one, two in zip(without, saving, strict=True):
        assert one[0] == pytest.approx(two[0], abs=1e-6)
        assert one[1] == pytest.approx(two[1], rel=1e-4)
        assert one[2] == two[2]

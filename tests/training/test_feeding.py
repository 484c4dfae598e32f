"""Batches that threads make ready are those that are made when they are asked for."""

import threading

import pytest
from safetensors.torch import load_file

from conftest import chat
from vitrail.data.records import Image
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


class Breaks(NextToken):
    def __init__(self, at=0):
        super().__init__()
        self.break_at, self.calls = at, 0

    def forward(self, model, batch):
        self.calls += 1
        if self.calls == self.break_at:
            raise RuntimeError("broken off on purpose")
        return super().forward(model, batch)


def records(bundle, count=12):
    return [
        bundle.encoder.encode(
            chat("what?", "a " + "red " * (i % 4) + "cat", images=i % 3, seed=i, id=f"r{i}")
        )
        for i in range(count)
    ]


def train(folder, ahead, break_at=0, change=lambda found: found, **changes):
    bundle = nano.build(seed=0)
    settings = {
        "max_steps": 4,
        "batch_size": 2,
        "accumulation": 2,
        "checkpoint_steps": 2,
        "precision": "float32",
    }
    config = StageConfig(name="tiny", ahead=ahead, **{**settings, **changes})
    data = change(records(bundle))
    train_stage(bundle.model, data, bundle.collator(), Breaks(break_at), config, folder, device="cpu")
    return load_file(folder / "final.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def left():
    return [thread for thread in threading.enumerate() if thread.name.startswith("vitrail-ahead")]


@pytest.mark.parametrize("changes", [{}, {"packing": 96, "batch_size": 1}])
def test_the_trajectory_is_the_same_also_when_it_was_broken_off(tmp_path, changes):
    plain = train(tmp_path / "plain", 0, **changes)
    assert same(train(tmp_path / "ahead", 3, **changes), plain)
    with pytest.raises(RuntimeError, match="on purpose"):
        train(tmp_path / "broken", 3, break_at=6, **changes)
    assert left() == []
    assert same(train(tmp_path / "broken", 5, **changes), plain)  # how far ahead may change
    assert left() == []


def test_a_picture_that_cannot_be_read_is_an_error_at_its_turn(tmp_path):
    def damaged(found):
        broken = Image(bytes=b"no picture", width=32, height=32)
        return [one if one.id != "r7" else type(one)(**{**vars(one), "images": (broken,)}) for one in found]

    with pytest.raises(ValueError, match="the picture cannot be decoded"):
        train(tmp_path / "stage", 3, change=damaged)
    assert left() == []


def test_threads_and_processes_are_not_given_together():
    with pytest.raises(ValueError, match="give one of the two"):
        StageConfig(name="tiny", max_steps=1, ahead=2, workers=1)

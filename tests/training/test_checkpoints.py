import json

import pytest
import torch
from torch import nn

from vitrail.training import checkpoints
from vitrail.training.checkpoints import DamagedCheckpoint
from vitrail.training.selection import select_parameters


def fill(folder, step):
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    for name in checkpoints.REQUIRED:
        (place / name).write_text(f"{name} of {step}")
    checkpoints.seal(place)
    return place


def test_the_newest_whole_one_is_chosen(tmp_path):
    assert checkpoints.newest(tmp_path) == (None, [])
    for step in (5, 20, 100):
        fill(tmp_path, step)
    assert checkpoints.newest(tmp_path) == (tmp_path / "checkpoint-100", [])


@pytest.mark.parametrize(
    "damage,said",
    [
        (lambda place: (place / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (lambda place: (place / "optimizer.pt").write_text("half"), "has 4 bytes instead of"),
        (lambda place: (place / "complete.json").unlink(), "complete.json is missing or unreadable"),
        (lambda place: (place / "complete.json").write_text("{"), "complete.json is missing or unreadable"),
        (lambda place: (place / "complete.json").write_text('{"files": {}}'), "is not among its files"),
    ],
)
def test_a_damaged_one_is_left_aside_for_the_one_before(tmp_path, damage, said):
    fill(tmp_path, 5), damage(fill(tmp_path, 10))
    chosen, notes = checkpoints.newest(tmp_path)
    assert chosen == tmp_path / "checkpoint-5"
    assert len(notes) == 1 and "checkpoint-10 is damaged" in notes[0] and said in notes[0]


def test_no_whole_one_is_an_error_and_not_a_fresh_start(tmp_path):
    (fill(tmp_path, 5) / "optimizer.pt").unlink()
    with pytest.raises(DamagedCheckpoint, match="no whole checkpoint is left"):
        checkpoints.newest(tmp_path)


def test_nothing_incomplete_is_sealed(tmp_path):
    place = fill(tmp_path, 5)
    (place / "scheduler.pt").unlink()
    with pytest.raises(ValueError, match=r"without scheduler.pt cannot be resumed"):
        checkpoints.seal(place)


def test_pruning_keeps_the_newest_and_strangers(tmp_path):
    for step in (2, 10, 9, 100):
        fill(tmp_path, step)
    (tmp_path / "checkpoint-old").mkdir()
    checkpoints.prune(tmp_path, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "checkpoint-100", "checkpoint-old"}


class WithBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.connector = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.register_buffer("passing", torch.zeros(2), persistent=False)


def test_trained_parts_are_stored_with_their_buffers_and_nothing_else(tmp_path):
    model = WithBuffers()
    parts = {"tower": model.tower, "connector": model.connector}
    selection = select_parameters(model, ["connector"], parts)
    model.connector(torch.randn(5, 3))
    state = checkpoints.trained_state(model, selection)
    assert set(state) == {name for name in model.state_dict() if name.startswith("connector.")}
    assert "connector.1.running_mean" in state
    checkpoints.save_tensors(tmp_path / "t.safetensors", state)
    other = WithBuffers()
    selection = select_parameters(other, ["connector"], {"tower": other.tower, "connector": other.connector})
    frozen = {name: value.clone() for name, value in other.tower.state_dict().items()}
    checkpoints.load_trained(tmp_path / "t.safetensors", other, selection)
    for name, value in other.connector.state_dict().items():
        assert torch.equal(value, model.connector.state_dict()[name])
    for name, value in other.tower.state_dict().items():
        assert torch.equal(value, frozen[name])
    assert [path.name for path in tmp_path.iterdir()] == ["t.safetensors"]


def test_other_tensors_are_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    checkpoints.save_tensors(path, {"a": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"'b' .* is in the model only"):
        checkpoints.load_tensors(path, {"a": torch.zeros(2), "b": torch.zeros(2)}, "the model")
    with pytest.raises(ValueError, match=r"a is \(2,\), \(3,\) in the model"):
        checkpoints.load_tensors(path, {"a": torch.zeros(3)}, "the model")


def test_complete_json_lists_what_is_there(tmp_path):
    place = fill(tmp_path, 5)
    listed = json.loads((place / "complete.json").read_text())["files"]
    assert listed == {p.name: p.stat().st_size for p in place.iterdir() if p.name != "complete.json"}

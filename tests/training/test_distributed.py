"""Two processes train what one does, also those that go on where others stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

HERE = Path(__file__).parent


class Processes:
    """The program that trains in forked processes."""

    def __init__(self) -> None:
        paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
        self.program = subprocess.Popen(
            [sys.executable, str(HERE / "distributed_stage.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __call__(self, folder: Path, processes: int, **order) -> dict:
        line = json.dumps({"folder": str(folder), "processes": processes, **order})
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()
        return json.loads(self.program.stdout.readline())

    def whole(self, folder: Path, processes: int, **order) -> Path:
        answer = self(folder, processes, **order)
        assert answer["codes"] == [0] * processes, answer["said"]
        return folder

    def broken(self, folder: Path, processes: int, break_at: int, **order) -> Path:
        answer = self(folder, processes, break_at=break_at, **order)
        assert any(answer["codes"]) and "broken off on purpose" in answer["said"], answer
        return folder


@pytest.fixture(scope="module")
def processes():
    running = Processes()
    yield running
    running.program.stdin.close()
    running.program.wait(20)


@pytest.fixture(scope="module")
def alone(processes, tmp_path_factory):
    return processes.whole(tmp_path_factory.mktemp("alone") / "stage", 1, stage={"batch_size": 4})


@pytest.fixture(scope="module")
def together(processes, tmp_path_factory):
    return processes.whole(tmp_path_factory.mktemp("together") / "stage", 2)


def rows(folder: Path, name: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def near(one: Path, other: Path, stage: str = ".") -> None:
    """Losses and float32 weights within 1e-5."""
    found, expected = rows(one / stage), rows(other / stage)
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for here, there in zip(found, expected, strict=True):
        assert here["loss"] == pytest.approx(there["loss"], abs=1e-5)
        assert (here["samples"], here["tokens"]) == (there["samples"], there["tokens"])
    weights, wanted = (load_file(folder / stage / "final.safetensors") for folder in (one, other))
    assert weights.keys() == wanted.keys()
    assert max(float((weights[name] - wanted[name]).abs().max()) for name in weights) < 1e-5


def equal(one: Path, other: Path, stage: str = ".") -> None:
    """Losses and weights to the bit."""
    assert [row["loss"] for row in rows(one / stage)] == [row["loss"] for row in rows(other / stage)]
    names = [folder / stage / "final.safetensors" for folder in (one, other)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_two_processes_equal_one(alone, together):
    near(together, alone)
    for one, two in zip(rows(alone), rows(together), strict=True):
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-3)
    assert json.loads((together / "plan.json").read_text())["processes"] == 2


def test_as_many_processes_go_on_to_the_bit(processes, together, tmp_path):
    processes.broken(tmp_path / "stage", 2, 8)
    assert [path.name for path in (tmp_path / "stage").glob("checkpoint-*")] == ["checkpoint-2"]
    assert (tmp_path / "stage" / "checkpoint-2" / "rng_state_1.pth").exists()
    equal(processes.whole(tmp_path / "stage", 2), together)


@pytest.mark.parametrize(("begun", "then", "batch_size"), [(1, 2, 4), (2, 1, 2)])
def test_other_numbers_of_processes_go_on(processes, alone, together, tmp_path, begun, then, batch_size):
    order = {"stage": {"batch_size": batch_size}}
    processes.broken(tmp_path / "stage", begun, 8, **order)
    assert rows(tmp_path / "stage")[-1]["step"] < 4
    near(processes.whole(tmp_path / "stage", then, **order), {1: alone, 2: together}[begun])


@pytest.fixture(scope="module")
def shared(processes, tmp_path_factory):
    """Weights sharded over two processes."""
    return processes.whole(tmp_path_factory.mktemp("shared") / "stage", 2, stage={"sharding": "full"})


def test_sharded_weights_train_alike(shared, together):
    near(shared, together)


@pytest.mark.parametrize(("begun", "then"), [(2, 2), (2, 1), (1, 2)])
def test_sharded_stages_go_on_with_any_number_of_processes(processes, alone, shared, tmp_path, begun, then):
    order = {"stage": {"batch_size": 4 // begun, "sharding": "full"}}
    processes.broken(tmp_path / "stage", begun, 8, **order)
    processes.whole(tmp_path / "stage", then, **order)
    near(tmp_path / "stage", {1: alone, 2: shared}[begun])
    if begun == then:
        equal(tmp_path / "stage", shared)


SCENES = {"kind": "scenes", "suite": "nano-scenes-v1", "turns": [1, 1]}
RECIPE = {
    "name": "followed",
    "model": {"testbed": "nano"},
    "data": {
        "what": {**SCENES, "kinds": ["what"], "n": 24},
        "where": {**SCENES, "kinds": ["where"], "n": 24},
        "held": {**SCENES, "kinds": ["what"], "n": 8, "fold": "development"},
        "all": {
            "kind": "mixture",
            "sources": {"what": 1, "where": 1},
            "rule": {"name": "skill_it", "graph": [[1, 0], [0.5, 1]], "every": 2, "records": 8},
        },
    },
    "stages": [
        {
            "name": "tune",
            "data": "all",
            "trains": ["connector", "language"],
            "batch_size": 4,
            "accumulation": 2,
            "max_steps": 6,
            "checkpoint_steps": 2,
            "learning_rate": 1e-3,
            "precision": "float32",
            "probes": {"data": ["held"], "every": 3, "records": 8},
        }
    ],
    "evaluation": [{"name": "held", "data": "held", "conditions": ["trained"]}],
}


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_a_recipe_with_a_mixture_and_probes_goes_on_with_two_processes(
    processes, tmp_path_factory, tmp_path, sharding
):
    """Begun alone, broken off, taken to its end by two: as if one had done it all."""
    whole = tmp_path_factory.getbasetemp() / "whole"
    if not whole.exists():
        processes.whole(whole, 1, recipe=RECIPE)
    recipe = {**RECIPE, "stages": [{**RECIPE["stages"][0], "sharding": sharding}]}
    run = processes.broken(tmp_path / "run", 1, 8, recipe=recipe)
    assert not (run / "model").exists()
    processes.whole(run, 2, recipe=recipe)
    near(run, whole, "stages/tune")
    for one, other in zip(
        *(rows(folder, "stages/tune/probes.jsonl") for folder in (run, whole)), strict=True
    ):
        assert one["held"]["loss"] == pytest.approx(other["held"]["loss"], abs=1e-5)
    for one, other in zip(
        *(rows(folder, "stages/tune/mixture.jsonl") for folder in (run, whole)), strict=True
    ):
        assert one.get("shares") == pytest.approx(other.get("shares"), abs=1e-5)
    files = [folder / "evaluation" / "held" / "scores.json" for folder in (run, whole)]
    scores = [json.loads(file.read_text())["trained"] for file in files]
    assert scores[0]["n"] == scores[1]["n"] == 8


def test_packed_rows_go_to_other_processes_as_they_are(processes, tmp_path):
    order = {"stage": {"packing": 160, "batch_size": 2, "accumulation": 1, "max_steps": 4}}
    whole = processes.whole(tmp_path / "whole", 1, **order)
    processes.broken(tmp_path / "stage", 1, 4, **order)
    near(processes.whole(tmp_path / "stage", 2, **order), whole)

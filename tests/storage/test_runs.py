import signal
import subprocess
import sys
import time

import pytest

from vitrail.storage.lock import Locked
from vitrail.storage.runs import RecipeDiffers, RunFolder, compare

RECIPE = {
    "name": "ünï",
    "seed": 0,
    "stages": [{"name": "align", "learning_rate": 1e-3}, {"name": "tune"}],
    "lora": None,
}


def test_a_run_has_its_things_in_fixed_places(tmp_path):
    with RunFolder(tmp_path / "run").writing(RECIPE) as run:
        assert run.recipe() == RECIPE and run.exists and run.plan() is None
        assert run.environment()["fingerprint"] == run.starts()[0]["fingerprint"]
    assert run.stage("align") == tmp_path / "run" / "stages" / "align"
    assert run.evaluation("known") == tmp_path / "run" / "evaluation" / "known"
    assert sorted(file.name for file in run.path.iterdir()) == [
        ".lock",
        "environment.json",
        "recipe.yaml",
        "starts.jsonl",
    ]
    for name in ("../x", "", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="cannot name a stage"):
            run.stage(name)


def test_an_equal_recipe_continues_the_run(tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path).writing({**RECIPE, "stages": tuple(RECIPE["stages"])}) as run:
            pass
    assert [start["resumed"] for start in run.starts()] == [False, True]


def test_another_recipe_is_refused_with_what_differs_and_the_remedy(tmp_path):
    with RunFolder(tmp_path).writing(RECIPE):
        pass
    before = (tmp_path / "recipe.yaml").read_bytes()
    other = {**RECIPE, "stages": [{"name": "align", "learning_rate": 5e-4}], "lora": {"r": 8}, "extra": True}
    with pytest.raises(RecipeDiffers) as caught, RunFolder(tmp_path).writing(other):
        pass
    message = str(caught.value)
    assert "stages.0.learning_rate: 0.001 in the run, 0.0005 now" in message
    assert 'stages.1: {"name": "tune"} in the run, null now' in message
    assert 'lora: null in the run, {"r": 8} now' in message
    assert "Choose another folder" in message
    assert (tmp_path / "recipe.yaml").read_bytes() == before
    with RunFolder(tmp_path).writing(RECIPE):
        pass


def test_a_stored_recipe_is_compared_as_it_is_read_today(tmp_path):
    """A field that did not exist when the run was begun has its default; what reading refuses is compared as it is."""

    def read(stored):
        if "gone" in stored:
            raise ValueError("there is no such field")
        return {"fresh": 1, **stored}

    with RunFolder(tmp_path / "run").writing(RECIPE):
        pass
    with pytest.raises(RecipeDiffers, match="fresh: null in the run, 1 now"):
        RunFolder(tmp_path / "run").writing({**RECIPE, "fresh": 1}).__enter__()
    with RunFolder(tmp_path / "run").writing({**RECIPE, "fresh": 1}, read) as run:
        assert run.recipe() == RECIPE
    with pytest.raises(RecipeDiffers, match="fresh: 1 in the run, 2 now"):
        RunFolder(tmp_path / "run").writing({**RECIPE, "fresh": 2}, read).__enter__()
    with RunFolder(tmp_path / "old").writing({**RECIPE, "gone": 0}):
        pass
    with pytest.raises(RecipeDiffers, match="gone: 0 in the run, null now"):
        RunFolder(tmp_path / "old").writing({**RECIPE, "fresh": 1}, read).__enter__()


def test_comparing_tells_truth_from_one():
    assert compare({"a": 1}, {"a": True}) == [("a", 1, True)]
    assert compare({"a": 1}, {"a": 1.0}) == []
    assert compare([1, {"b": 2}], [1, {"b": 3}]) == [(".1.b", 2, 3)]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("precious")
    with (
        pytest.raises(ValueError, match=r"holds thesis\.doc but no recipe\.yaml"),
        RunFolder(tmp_path).writing(RECIPE),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.doc"]
    with pytest.raises(ValueError, match=r"is not a run: it has no recipe\.yaml"):
        RunFolder(tmp_path).recipe()


def test_what_yaml_cannot_hold_fails_before_anything_is_written(tmp_path):
    with pytest.raises((ValueError, TypeError)):
        RunFolder(tmp_path / "run").writing({"a": float("nan")})
    assert not (tmp_path / "run").exists()


HOLDER = """
import os, sys, time
from vitrail.storage.runs import RunFolder
with RunFolder(sys.argv[1]).writing({"seed": 0}):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def test_one_process_writes_a_run_and_its_death_frees_it(tmp_path):
    import os

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(Locked, match=f"is being written by process {holder.pid}; wait"):
            RunFolder(tmp_path).writing({"seed": 0}).__enter__()
        time.sleep(0.2)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        # A worker that outlives its killed parent must not keep the run locked.
        with RunFolder(tmp_path).writing({"seed": 0}) as run:
            assert len(run.starts()) == 2
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.kill()


def test_opening_twice_in_one_process_is_refused_too(tmp_path):
    run = RunFolder(tmp_path)
    with run.writing(RECIPE):
        with pytest.raises(Locked), RunFolder(tmp_path).writing(RECIPE):
            pass
        with pytest.raises(Locked, match="already open"), run.writing(RECIPE):
            pass
    with run.writing(RECIPE):
        pass

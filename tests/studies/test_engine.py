"""The engine: what is finished is kept, what was decided stays, and a killed comparison ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretended_cells import pretended
from vitrail.recipes.loading import load, plain
from vitrail.studies import execution
from vitrail.studies.arms import Arm, changed
from vitrail.studies.cells import Store
from vitrail.studies.design import Design
from vitrail.studies.engine import Comparison
from vitrail.studies.setting_up import TUNING_DRAW, TWIN, cell
from vitrail.studies.spending import spend


@pytest.fixture(scope="module")
def base():
    return plain(load("nano", {"stages.tune.max_steps": 3, "data.known.n": 12, "data.scenes.n": 16}))


def design(base, **settings):
    wide = changed(base, {"set": {"model.connector": {"name": "mlp", "pool": 2, "hidden": 96}}})
    settings = {"delta": 0.05, "trials": 3, "pairs": 3, "most": 12, **settings}
    return Design(
        "wide against plain", Arm("plain", base), (Arm("wide", wide),), evaluation="known", **settings
    )


@pytest.fixture
def fast(monkeypatch):
    made = pretended()
    monkeypatch.setattr(execution, "run_cell", made)
    return made


def compare(made, folder, **settings):
    return Comparison(made, folder, inline=True, **settings).run()


def test_from_a_design_to_a_verdict(base, fast, tmp_path):
    found = compare(design(base), tmp_path)
    first = found["contrasts"][0]
    assert first["verdict"] == "seen" and first["effect"] == pytest.approx(0.1, abs=0.02)
    roles = [one.role for one in fast.calls]
    assert roles.count("tuning") == 6 and roles.count("noise") == 6
    # The A/A run's first halves are the control's first cells: they are not run again.
    assert roles.count("primary") == 2 * first["n"] - 3
    assert found["seeds"]["noise"] < 0.05 and first["n"] == 8
    assert {one.draw for one in fast.calls if one.role == "tuning"} == {TUNING_DRAW}
    assert {one.recipe["data"]["asked"]["fold"] for one in fast.calls if one.role == "tuning"} == {
        "development"
    }
    assert {one.recipe["data"]["asked"]["fold"] for one in fast.calls if one.role != "tuning"} == {"test"}
    assert json.loads((tmp_path / "outcome.json").read_text()) == found


def test_a_second_start_runs_nothing(base, fast, tmp_path):
    first = compare(design(base), tmp_path)
    done = len(fast.calls)
    assert compare(design(base), tmp_path) == first and len(fast.calls) == done


def test_pairs_share_scenes_and_twins_do_not_share_seeds(base, fast, tmp_path):
    compare(design(base), tmp_path)
    primary = [one for one in fast.calls if one.role == "primary"]
    for one in primary:
        assert (
            one.recipe["data"]["asked"]["seed"]
            == one.draw
            == one.recipe["data"]["scenes"]["seed"]
            == one.seed
        )
    twins = [one for one in fast.calls if one.role == "noise" and one.seed != one.draw]
    assert [one.seed - one.draw for one in twins] == [TWIN] * 3
    assert all(one.recipe["data"]["asked"]["seed"] == one.draw for one in twins)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"delta": 0.1}, "delta: 0.05 then, 0.1 now"), ({"seeds": 9}, "seeds: None then, 9 now")],
)
def test_a_rule_does_not_change_when_cells_exist(base, fast, tmp_path, change, message):
    compare(design(base), tmp_path)
    with pytest.raises(ValueError, match=message):
        compare(design(base, **change), tmp_path)


def test_a_seed_counts_once(base, tmp_path):
    store, one = Store(tmp_path), cell(design(base).control, "primary", evaluation="known", draw=1)
    store.put(one, {"score": 0.5})
    with pytest.raises(ValueError, match="seed 1 and draw 1 was run already"):
        store.put(one, {"score": 0.6})
    assert store.get(one)["score"] == 0.5


def test_what_failed_is_named_and_the_rest_is_kept(base, tmp_path, monkeypatch):
    made = pretended()

    def failing(one, *rest, **named):
        if one.arm == "wide" and one.role == "primary" and one.draw == 4:
            raise ValueError("out of luck")
        return made(one, *rest, **named)

    monkeypatch.setattr(execution, "run_cell", failing)
    with pytest.raises(ValueError, match="out of luck"):
        compare(design(base), tmp_path)
    kept = len(list((tmp_path / "cells").glob("*.json")))
    monkeypatch.setattr(execution, "run_cell", made)
    before = len(made.calls)
    found = compare(design(base), tmp_path)
    assert found["contrasts"][0]["n"] == 8
    assert len(made.calls) - before == len(list((tmp_path / "cells").glob("*.json"))) - kept


def test_noise_asks_for_more_seeds(base, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "run_cell", pretended(noise=0.08))
    found = compare(design(base, most=40), tmp_path)
    assert found["seeds"]["needed"] == found["seeds"]["n"] > 8


def test_a_budget_becomes_steps(base, tmp_path, monkeypatch):
    made = pretended(slow=0.5)
    monkeypatch.setattr(execution, "run_cell", made)
    long = changed(base, {"set": {"stages.tune.max_steps": 10_000}})
    found = compare(design(long), tmp_path, seconds=3600.0)
    steps = found["length"]["steps"]["tune"]
    cells = 6 + 3 + 16
    assert 100 < steps < 10_000 and 0.6 * 3600 < cells * (2.0 + steps * 0.5) < 3600
    assert [one.role for one in made.calls[:2]] == ["pilot", "pilot"]


def test_a_budget_that_is_too_small_says_what_it_takes():
    stages = [{"name": "tune", "max_steps": 100}]
    pilot = {"stages": {"tune": {"seconds_a_step": 1.0, "records": 8, "records_a_step": 8}}, "asked_seconds": 1.0,
             "values": [0] * 10, "seconds": 12.0, "train_seconds": 8.0}  # fmt: skip
    with pytest.raises(ValueError, match="a budget of 1 minutes is too small: 25 cells take"):
        spend(60.0, 1, stages, [pilot, pilot], 25, 100)
    found = spend(36_000.0, 1, stages, [pilot, pilot], 25, 100)
    assert found["steps"] == {"tune": 100} and found["questions"] == 100  # never longer than the recipe


def test_the_slower_arm_sets_the_length():
    stages = [{"name": "tune", "max_steps": 10_000}]
    fast = {"stages": {"tune": {"seconds_a_step": 1.0, "records": 8, "records_a_step": 8}}, "asked_seconds": 1.0,
            "values": [0] * 10, "seconds": 12.0, "train_seconds": 8.0}  # fmt: skip
    slow = {**fast, "stages": {"tune": {**fast["stages"]["tune"], "seconds_a_step": 4.0}}}
    both, alone = (
        spend(7200.0, 1, stages, pilots, 25, 100)["steps"]["tune"] for pilots in ([fast, slow], [fast])
    )
    assert both == pytest.approx(alone / 4, abs=2)


def test_time_that_ends_too_early_gives_no_verdict(base, fast, tmp_path, monkeypatch):
    made = Comparison(design(base), tmp_path, inline=True)
    monkeypatch.setattr(made, "_until", lambda: time.monotonic() - 1)
    first = made.run()["contrasts"][0]
    assert first["verdict"] == "not testable here" and "the time ended after 0 of 8 pairs" in first["why"]
    assert compare(design(base), tmp_path)["contrasts"][0]["verdict"] == "seen"


def test_real_cells_in_processes(base, tmp_path):
    """Two cells at a time, each in a process of its own; again in this process gives the same bits."""
    made = design(base)
    settings = {"evaluation": "known", "draw": 1, "precision": "float32"}
    cells = [cell(arm, "primary", **settings) for arm in (made.control, made.methods[0])]
    store = Store(tmp_path / "cells")
    found = execution.run_cells(cells, store, tmp_path / "work", jobs=2, threads=1)
    assert [one["arm"] for one in found] == ["plain", "wide"] and not list((tmp_path / "work").iterdir())
    assert all(one["steps"] == 3 and one["flops"] > 0 and one["peak_bytes"] > 10**8 for one in found)
    again = execution.run_cell(cells[1], tmp_path / "again", threads=1)
    assert again["values"] == found[1]["values"] and again["loss"] == found[1]["loss"]
    assert not (tmp_path / "again" / "model").exists()


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_engine
from pretended_cells import pretended
from vitrail.recipes.loading import load, plain
from vitrail.studies import execution
made = pretended()
def slowly(*args, **named):
    time.sleep(0.05)
    return made(*args, **named)
execution.run_cell = slowly
base = plain(load("nano", {"stages.tune.max_steps": 3, "data.known.n": 12, "data.scenes.n": 16}))
test_engine.compare(test_engine.design(base), Path(sys.argv[2]))
"""


def test_killed_at_any_moment_it_ends_the_same(base, fast, tmp_path):
    whole = compare(design(base), tmp_path / "whole")
    here, place = str(Path(__file__).parent), tmp_path / "killed"
    paths = os.pathsep.join([here, str(Path(__file__).parents[1]), *sys.path])
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, here, str(place)], env={**os.environ, "PYTHONPATH": paths}
        )
        done = len(list((place / "cells").glob("*.json"))) if place.exists() else 0
        while process.poll() is None and len(list((place / "cells").glob("*.json"))) < done + 4:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = compare(design(base), place)
    assert {**found, "date": None} == {**whole, "date": None}

"""Arms that train alike train once, and nothing else about their cells changes."""

import json
import os
from concurrent.futures import Future

import pytest

from pretended_cells import pretended
from vitrail.recipes import run as running
from vitrail.recipes.loading import load, plain
from vitrail.storage.runs import RunFolder
from vitrail.studies import execution, trainings
from vitrail.studies.arms import Arm, changed
from vitrail.studies.cells import Store
from vitrail.studies.design import Design
from vitrail.studies.engine import Comparison
from vitrail.studies.setting_up import cell


@pytest.fixture(scope="module")
def base():
    return plain(load("nano", {"stages.tune.max_steps": 3, "data.known.n": 12, "data.scenes.n": 16}))


def asked_with(base, name, *methods):
    return Arm(name, changed(base, {"set": {"evaluation.known.methods": list(methods)}}, name))


def cells_of(arms, **settings):
    return [cell(arm, "primary", evaluation="known", draw=1, precision="float32", **settings) for arm in arms]


def test_alike_are_arms_that_differ_in_what_is_asked(base):
    crop = asked_with(base, "crop", {"name": "vicrop", "map": "random"})
    fewer = Arm("fewer questions", changed(base, {"set": {"data.known.n": 7}}))
    wide = Arm("wide", changed(base, {"set": {"model.connector": {"name": "mlp", "pool": 2, "hidden": 96}}}))
    more = Arm("more scenes", changed(base, {"set": {"data.scenes.n": 32}}))
    longer = Arm("longer", changed(base, {"set": {"stages.tune.max_steps": 4}}))
    seed = Arm("another seed", changed(base, {"set": {"seed": 5}}))
    arms = [Arm("plain", base), crop, fewer, wide, more, longer, seed]
    assert trainings.alike(arms) == {"plain", "crop", "fewer questions"}
    assert not trainings.alike([wide, more, longer])


def test_data_that_a_stage_only_mentions_belongs_to_its_training(base):
    names = ["scenes", "known"]
    mixed = changed(
        base, {"set": {"data.both": {"kind": "mixture", "sources": names}, "stages.tune.data": "both"}}
    )
    probed = changed(base, {"set": {"stages.tune.probes": {"data": ["known"], "every": 1}}})
    for recipe in (mixed, probed):
        training = trainings.training_of(recipe)
        assert set(names) <= set(training["data"]) and training["evaluation"] == []
        other = changed(recipe, {"set": {"data.known.n": 7}})
        assert trainings.identity(other) != trainings.identity(recipe)
    assert "known" not in trainings.training_of(base)["data"]


def test_loops_share_nothing(base):
    assert trainings.identity({**base, "loop": {"name": "llm2llm"}}) is None


def test_a_shared_training_gives_the_same_results_and_is_done_once(base, tmp_path, monkeypatch):
    arms = [asked_with(base, "plain"), asked_with(base, "crop", {"name": "vicrop", "map": "random"})]
    alone, shared = cells_of(arms), cells_of(arms, shares=True)
    assert len({one.training for one in shared}) == 1 and shared[0].training
    assert [one.identity for one in alone] == [one.identity for one in shared]
    expected = [execution.run_cell(one, tmp_path / "alone" / one.name, threads=1) for one in alone]
    place = tmp_path / "work" / f"{trainings.FOLDER}{shared[0].training}"
    found = []
    for one in shared:
        found.append(execution.run_cell(one, tmp_path / "work" / one.name, threads=1))
        assert (place / "model" / "config.json").exists(), "others may still want it"
        assert not (tmp_path / "work" / one.name / "model").exists()
        assert any(place.glob("stages/*/*.safetensors"))
    same = ("score", "values", "ids", "by_kind", "loss", "steps", "samples", "tokens", "flops", "parameters")
    for one, other in zip(found, expected, strict=True):
        assert {name: one[name] for name in same} == {name: other[name] for name in same}
    assert found[0]["train_seconds"] == found[1]["train_seconds"] > 0
    peak = json.loads((place / "peak.json").read_text())["peak_bytes"]
    assert min(one["peak_bytes"] for one in found) >= peak > 10**8
    trainings.forget(tmp_path / "work")
    assert not place.exists()


def test_a_cell_killed_while_it_takes_over_goes_on(base, tmp_path, monkeypatch):
    one = cells_of([Arm("plain", base)], shares=True)[0]
    place = tmp_path / one.name
    replace = os.replace

    def killed(source, target):
        if str(target) == str(place / "model"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(trainings.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        execution.run_cell(one, place, threads=1)
    assert RunFolder(place).exists and not (place / "model").exists()
    monkeypatch.undo()
    monkeypatch.setattr(running, "_run", refusing_to_train(running._run))
    assert execution.run_cell(one, place, threads=1)["steps"] == 3
    assert not (place / ".model").exists()


def refusing_to_train(run):
    def only_asked(recipe, opened, *rest):
        assert (opened.path / "model").exists(), "it trained again"
        return run(recipe, opened, *rest)

    return only_asked


def test_cells_of_one_training_do_not_wait_for_each_other(base, tmp_path, monkeypatch):
    """Two at a time: what needs the training under way stays behind, and another's cell goes first."""
    arms = [asked_with(base, name) for name in ("a", "b")]
    cells = [one for draw in (1, 2) for one in _drawn(arms, draw)]
    begun, running_now = [], []

    class Pool:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, one, *_):
            task = Future()
            running_now.append((one, task))
            assert len({other.training for other, _ in running_now}) == len(running_now)
            begun.append((one.arm, one.draw))
            return task

    def first_ends(tasks, return_when):
        _, task = running_now.pop(0)
        task.set_result({"seconds": 1.0})
        return type("Done", (), {"done": {task}})

    monkeypatch.setattr(execution, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(execution, "wait", first_ends)
    found = execution.run_cells(cells, Store(tmp_path / "cells"), tmp_path / "work", jobs=2)
    assert begun == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert [(one["arm"], one["draw"]) for one in found] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def _drawn(arms, draw):
    return [cell(arm, "primary", evaluation="known", draw=draw, shares=True) for arm in arms]


def test_a_large_training_is_removed_with_its_last_cell(base, tmp_path, monkeypatch):
    cells = [one for draw in (1, 2) for one in _drawn([asked_with(base, "a"), asked_with(base, "b")], draw)]
    there = []

    def run_cell(one, folder, *_):
        place = folder.parent / f"{trainings.FOLDER}{one.training}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "weights").write_bytes(b"x" * 100)
        there.append(sorted(path.name for path in folder.parent.glob("training-*")))
        return {"seconds": 1.0}

    monkeypatch.setattr(execution, "run_cell", run_cell)
    for most, kept in ((100, 2), (99, 0)):
        monkeypatch.setattr(trainings, "KEPT_BYTES", most)
        work = tmp_path / f"work-{most}"
        execution.run_cells(cells, Store(tmp_path / f"cells-{most}"), work, inline=True)
        assert len(list(work.glob("training-*"))) == kept
    assert [len(one) for one in there] == [1, 1, 2, 2, 1, 1, 1, 1]


def test_a_study_shares_what_its_arms_share_and_leaves_no_training(base, tmp_path, monkeypatch):
    """Control and method train alike and share; an arm that trains otherwise does not. At the end nothing is kept."""
    made, there = pretended(gain=0.0), []

    def run_cell(one, folder, *rest):
        if one.training is not None:
            place = folder.parent / f"{trainings.FOLDER}{one.training}"
            place.mkdir(parents=True, exist_ok=True)
            there.append(place)
        return made(one, folder, *rest)

    monkeypatch.setattr(execution, "run_cell", run_cell)
    wide = changed(base, {"set": {"model.connector": {"name": "mlp", "pool": 2, "hidden": 96}}})
    crop = asked_with(base, "crop", {"name": "vicrop", "map": "random"})
    arms = {"control": Arm("plain", base), "methods": (crop,), "context": (Arm("wide", wide),)}
    design = Design("crop against none", **arms, evaluation="known", delta=0.05, trials=3, pairs=3, most=8)
    Comparison(design, tmp_path, inline=True).run()
    shared = {(one.arm, one.draw): one.training for one in made.calls if one.role == "primary"}
    assert {shared["crop", draw] for draw in range(4, 9)} == {shared["plain", draw] for draw in range(4, 9)}
    assert len({shared["crop", draw] for draw in range(1, 9)}) == 8 and None not in shared.values()
    assert {one.training for one in made.calls if one.arm == "wide"} == {None}
    assert there and not any(place.exists() for place in there)

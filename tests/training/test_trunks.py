import json
import shutil

import pytest
import torch

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage

INFINITE = {"name": "infinite", "cooldown": 3, "constant": 0.5, "minimum": 0.1}


def records(bundle, first=0, count=8):
    turns = [("what is it?", f"a {first + i} cat") for i in range(count)]
    return [bundle.encoder.encode(chat(*turn, id=f"r{first + i}")) for i, turn in enumerate(turns)]


def stage(name="a", steps=6, **changes):
    settings = {
        "name": name,
        "max_steps": steps,
        "batch_size": 4,
        "precision": "float32",
        "schedule": INFINITE,
    }
    return StageConfig(
        **{"learning_rate": 1e-2, "warmup": 2, "checkpoint_minutes": None, **settings, **changes}
    )


def run(root, bundle, config, first=0, **options):
    trunk = None if config.continues is None else root / config.continues
    return train_stage(
        bundle.model,
        records(bundle, first),
        bundle.collator(),
        NextToken(),
        config,
        root / config.name,
        device="cpu",
        trunk=trunk,
        **options,
    )


def rows(folder):
    kept = ("step", "loss", "learning_rate", "grad_norm", "samples")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: json.loads(line)[name] for name in kept} for line in lines]


def weights(bundle):
    return {name: value.detach().clone() for name, value in bundle.model.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_stage_goes_on_at_the_constant_rate_and_with_the_optimizer_s_moments(tmp_path):
    """On the same records two stages of six steps are one of twelve, as far as rates go, and no cold start."""
    bundle = nano.build(seed=0)
    run(tmp_path, bundle, stage("a"), keeps_state=True)
    run(tmp_path, bundle, stage("b", continues="a"), first=50)
    assert [row["learning_rate"] for row in rows(tmp_path / "a")] == pytest.approx(
        [0, 5e-3, 1e-2, 1e-2 * (0.5 + 0.25 * 1.5), 1e-2 * (0.5 + 0.25 * 0.5), 5e-3], rel=1e-6
    )
    assert [row["learning_rate"] for row in rows(tmp_path / "b")] == [5e-3] * 6
    cold = nano.build(seed=0)
    run(tmp_path / "cold", cold, stage("a"))
    constant = {"name": "infinite", "cooldown": 0, "constant": 0.5}
    run(tmp_path / "cold", cold, stage("b", schedule=constant, warmup=0), first=50)
    there, here = rows(tmp_path / "cold" / "b"), rows(tmp_path / "b")
    assert there[0]["loss"] == here[0]["loss"] and there[2]["loss"] != here[2]["loss"]


def test_a_branch_that_anneals_leaves_the_trunk_bit_for_bit(tmp_path):
    plain, forked = nano.build(seed=0), nano.build(seed=0)
    run(tmp_path / "plain", plain, stage("a"), keeps_state=True)
    run(tmp_path / "plain", plain, stage("b", continues="a"), first=50, keeps_state=True)
    run(tmp_path / "forked", forked, stage("a"), keeps_state=True)
    branch = stage("branch", 4, continues="a", schedule={**INFINITE, "anneal": 3})
    run(tmp_path / "forked", forked, branch)
    assert [row["learning_rate"] for row in rows(tmp_path / "forked" / "branch")] == pytest.approx(
        [5e-3, 5e-3, 5e-3 * 0.2 ** (1 / 3), 5e-3 * 0.2 ** (2 / 3)]
    )
    assert not same(weights(plain), weights(forked))
    run(tmp_path / "forked", forked, stage("b", continues="a"), first=50, keeps_state=True)
    assert same(weights(plain), weights(forked))
    assert rows(tmp_path / "plain" / "b") == rows(tmp_path / "forked" / "b")


def test_resumed_in_the_middle_of_annealing_it_ends_the_same(tmp_path, monkeypatch):
    whole = nano.build(seed=0)
    run(tmp_path / "whole", whole, stage("a"), keeps_state=True)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    branch = stage("branch", 6, continues="a", schedule={**INFINITE, "anneal": 4}, checkpoint_steps=2)
    run(tmp_path / "whole", whole, branch)

    class Killed(Exception):
        pass

    class Dies:
        def begin(self, trainer, checkpoint):
            pass

        def after_step(self, trainer, step, last):
            if step == 5:
                raise Killed

        def save(self, place):
            pass

        def close(self):
            pass

    killed = nano.build(seed=0)
    run(tmp_path / "killed", killed, stage("a"), keeps_state=True)
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed, branch, companions=[Dies()])
    fresh = nano.build(seed=0)
    run(tmp_path / "killed", fresh, stage("a"), keeps_state=True)
    result = run(tmp_path / "killed", fresh, branch)
    assert result.resumed_from == 4
    assert same(weights(whole), weights(fresh))
    assert rows(tmp_path / "whole" / "branch") == rows(tmp_path / "killed" / "branch")


def test_repeated_cosine_begins_again_with_the_moments(tmp_path):
    cosine = {"name": "repeated_cosine", "minimum": 0.1}
    bundle = nano.build(seed=0)
    run(tmp_path, bundle, stage("a", schedule=cosine), keeps_state=True)
    run(tmp_path, bundle, stage("b", schedule=cosine, continues="a"), first=50)
    first, second = ([row["learning_rate"] for row in rows(tmp_path / name)] for name in ("a", "b"))
    assert first[0] == 0 and second[0] == pytest.approx(1e-3)
    assert first[2:] == pytest.approx(second[2:]) and first[2] == 1e-2
    moments = torch.load(tmp_path / "a" / "state" / "optimizer.pt", weights_only=True)["state"]
    assert all(state["step"] == 6 for state in moments.values())


def test_a_trunk_without_its_state_is_refused(tmp_path):
    bundle = nano.build(seed=0)
    run(tmp_path, bundle, stage("a"))
    with pytest.raises(ValueError, match="has no state/optimizer"):
        run(tmp_path, bundle, stage("b", continues="a"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"schedule": {**INFINITE, "cooldown": 5}}, "warmup=2 and cooldown=5 and anneal=0 steps do not fit"),
        ({"schedule": {**INFINITE, "anneal": 2}}, "do not fit into a stage of 6"),
        ({"schedule": {"name": "infinite", "constant": 0.05}}, "rates must rise"),
        ({"schedule": {"name": "infinite", "cooldown": 2.5}}, "neither a share below 1 nor a whole number"),
        ({"schedule": "infinit"}, "did you mean 'infinite'"),
        ({"schedule": {"name": "cosine", "cycles": 2}}, "schedule 'cosine' takes no settings here"),
        ({"schedule": {"name": "repeated_cosine", "cycles": 4}}, "take fewer cycles"),
        ({"schedule": {"name": "infinite", "cooling": 2}}, "did you mean 'cooldown'"),
        ({"probes": {"data": "old", "every": 9}}, "longer than the stage of 6 steps"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_read(changes, message):
    with pytest.raises(ValueError, match=message):
        stage(**changes)


def test_names_of_transformers_schedules_stay_what_they_are():
    assert stage(schedule="cosine").schedule == "cosine" == stage(schedule={"name": "cosine"}).schedule
    read = StageConfig.model_validate(stage().model_dump(mode="json"))
    assert read == stage() and read.identity() == stage().identity()

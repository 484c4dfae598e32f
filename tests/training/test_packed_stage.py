"""A stage with packing: the trajectory, its plan and log, workers, and killed and resumed."""

import json
import math

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Loss
from vitrail.training.packing import Packing, epoch_rows
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


def records(bundle, count=24):
    turns = [("what is it?", "a " + "red " * (i * 7 % 11) + "cat") for i in range(count)]
    return [
        bundle.encoder.encode(chat(*turn, images=i % 3, seed=i % 4, id=f"r{i}"))
        for i, turn in enumerate(turns)
    ]


def stage(**changes):
    settings = {"name": "s", "epochs": 2, "batch_size": 1, "packing": 150, "precision": "float32"}
    return StageConfig(**{**settings, "learning_rate": 1e-2, **changes})


def run(folder, config, objective=None, data=None, progress=None, bundle=None):
    bundle = bundle or nano.build(seed=0)
    data = data if data is not None else records(bundle)
    return train_stage(
        bundle.model, data, bundle.collator(), objective or NextToken(), config, folder, device="cpu",
        progress=progress,
    )  # fmt: skip


def log(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class Seen(NextToken):
    """Notes what it is given, and breaks off where it is told to."""

    def __init__(self, stop=None):
        super().__init__()
        self.batches, self.stop = [], stop
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, model, batch):
        self.batches.append(batch)
        if len(self.batches) == self.stop:
            raise KeyboardInterrupt
        loss = super().forward(model, batch)
        noisy = loss.sums["next_token"] * self.scale * (0.5 + torch.rand(()))
        return Loss({"next_token": noisy}, loss.counts)


class Listener:
    def __init__(self):
        self.notes = []

    def start(self, stage):
        pass

    def step(self, report):
        pass

    def note(self, text):
        self.notes.append(text)

    def end(self, stage):
        pass


def test_a_step_of_rows_is_the_step_of_its_records(tmp_path):
    """One step over all records, in rows and one a row: the same loss, gradient and weights."""
    bundle = nano.build(seed=0)
    data = records(bundle, 12)
    rows = len(epoch_rows([one.length for one in data], Packing(length=150), 0, 0))
    both = {"epochs": None, "max_steps": 1, "trains": ("connector", "language"), "warmup": 0.0}
    packed = run(tmp_path / "packed", stage(batch_size=1, accumulation=rows, **both), data=data)
    apart = run(tmp_path / "apart", stage(batch_size=12, packing=None, **both), data=data)
    one, other = log(tmp_path / "packed")[0], log(tmp_path / "apart")[0]
    assert (one["samples"], one["tokens"]) == (other["samples"], other["tokens"]) == (12, packed.tokens)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    assert apart.plan.fill == pytest.approx(apart.tokens / apart.places, abs=1e-4)
    assert packed.places < apart.places


def test_plan_and_log_say_how_full_rows_are(tmp_path):
    listener, bundle = Listener(), nano.build(seed=0)
    data = records(bundle)
    result = run(tmp_path / "s", stage(batch_size=2), data=data, progress=listener)
    known = [one.length for one in data]
    rows = [epoch_rows(known, Packing(length=150), 0, epoch) for epoch in range(2)]
    plan = result.plan
    assert plan.rows == len(rows[0]) and plan.rows_a_step == 2
    assert plan.fill == pytest.approx(sum(known) / (150 * plan.rows), abs=1e-4)
    assert sum(plan.fill_histogram) == plan.rows and plan.records_a_step == pytest.approx(
        48 / plan.rows, abs=0.01
    )
    assert plan.steps == math.ceil(sum(map(len, rows)) / 2)
    assert any("24 records share" in note and f"{plan.fill:.1%} full" in note for note in listener.notes)
    last = log(tmp_path / "s")[-1]
    assert last["tokens"] == result.tokens <= last["places"] == result.places


def test_each_record_is_learnt_once_an_epoch(tmp_path):
    objective, bundle = Seen(), nano.build(seed=0)
    data = records(bundle)
    rows = epoch_rows([one.length for one in data], Packing(length=150), 0, 0)
    run(tmp_path / "s", stage(epochs=1), objective, data)
    assert len(objective.batches) == len(rows)
    assert sum(NextToken().count(batch) for batch in objective.batches) == sum(one.labelled for one in data)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_off_and_resumed_is_not_broken_off_with_any_workers(tmp_path, workers):
    changes = {"batch_size": 1, "accumulation": 2, "checkpoint_steps": 2}
    run(tmp_path / "whole", stage(**changes), Seen())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "s", stage(**changes, workers=workers), Seen(stop=8))
    result = run(tmp_path / "s", stage(**changes, workers=workers), Seen())
    assert result.resumed_from == 2
    assert log(tmp_path / "s") == log(tmp_path / "whole")
    one, other = (load_file(tmp_path / name / "final.safetensors") for name in ("s", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_time_budget_measures_rows(tmp_path):
    result = run(tmp_path / "s", stage(epochs=None, max_minutes=1.0, max_steps=3))
    assert result.plan.seconds_a_step > 0 and result.plan.by == "max_steps"


def test_a_record_longer_than_a_row_and_a_step_larger_than_the_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"packing.length is 30, but .* records are longer"):
        run(tmp_path / "a", stage(packing=30))
    with pytest.raises(ValueError, match="takes 64 rows"):
        run(tmp_path / "b", stage(batch_size=64))
    with pytest.raises(ValueError, match=r"was begun with packing="):
        run(tmp_path / "c", stage(max_steps=1))
        run(tmp_path / "c", stage(max_steps=1, packing=200))


def test_settings_of_packing():
    assert stage().packing == Packing(length=150)
    assert stage(packing={"length": 9, "window": 5}).packing.window == 5
    with pytest.raises(ValidationError, match="length_batches has no effect with packing"):
        stage(length_batches=False)
    with pytest.raises(ValidationError, match="packing"):
        stage(packing=0)
    again = StageConfig.model_validate(stage().identity())
    assert again == stage()


def test_a_stage_fits_the_rows_there_are():
    config = stage(batch_size=8, accumulation=4)
    assert config.fitted(1000) == config
    smaller = config.fitted(1000, lengths=[50] * 15)  # five full rows
    assert (smaller.batch_size, smaller.accumulation) == (1, 4) or smaller.records_a_step <= 5
    assert smaller.records_a_step <= 5
    assert config.fitted(1000, lengths=[150] * 32) == config

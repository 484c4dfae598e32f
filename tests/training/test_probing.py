import json

import pytest
import torch

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.training.probing import ProbeLog, Prober, Probes, read_probes
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


def records(bundle, word, count=6):
    turns = [("what is it?", "a " + "red " * (i % 3) + word) for i in range(count)]
    return [bundle.encoder.encode(chat(*turn, seed=i, id=f"{word}{i}")) for i, turn in enumerate(turns)]


def test_the_loss_is_the_objective_s_and_right_counts_whole_answers(nano):
    rows = records(nano, "cat")
    found = Prober({"cats": rows}, nano.collator(), records=5, batch_size=2).measure(nano.model)["cats"]
    expected = float(NextToken()(nano.model, nano.collator()(rows[:5])).total())
    assert found["loss"] == pytest.approx(expected, rel=1e-5) and found["right"] == 0.0
    with torch.no_grad():
        batch = nano.collator()(rows[:1])
        kept = {name: value for name, value in batch.items() if name != "labels"}
        labels = torch.nn.functional.pad(nano.model(**kept).logits.argmax(-1), (1, 0))[:, :-1]
    batch["labels"] = torch.where(batch["labels"] == -100, batch["labels"], labels)
    said = Prober({"a": rows[:1]}, lambda rows: batch).measure(nano.model)["a"]
    assert said["right"] == 1.0
    batch["labels"][0, -1] = (batch["labels"][0, -1] + 1) % 7
    assert Prober({"a": rows[:1]}, lambda rows: batch).measure(nano.model)["a"]["right"] == 0.0


def test_modes_and_random_states_are_left_alone(fresh_nano):
    fresh_nano.model.train()
    fresh_nano.model.tower.eval()
    modes, state = [module.training for module in fresh_nano.model.modules()], torch.random.get_rng_state()
    Prober({"cats": records(fresh_nano, "cat")}, fresh_nano.collator()).measure(fresh_nano.model)
    assert modes == [module.training for module in fresh_nano.model.modules()]
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_probed_stage_is_the_stage_and_leaves_rows(tmp_path):
    def run(folder, probed):
        bundle = nano.build(seed=0)
        probes = Probes(data=("dogs", "cats"), every=2, records=4)
        config = StageConfig(name="s", max_steps=5, batch_size=2, precision="float32", learning_rate=1e-2)
        sources = {"dogs": records(bundle, "dog"), "cats": records(bundle, "cat")}
        log = ProbeLog(probes, Prober(sources, bundle.collator(), records=4), folder)
        along = [log] if probed else []
        train_stage(
            bundle.model,
            sources["cats"],
            bundle.collator(),
            NextToken(),
            config,
            folder,
            device="cpu",
            companions=along,
        )
        return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]

    assert run(tmp_path / "with", True) == run(tmp_path / "without", False)
    rows = read_probes(tmp_path / "with")
    assert [row["step"] for row in rows] == [0, 2, 4, 5]
    assert rows[-1]["cats"]["loss"] < rows[0]["cats"]["loss"] and set(rows[0]) == {"step", "dogs", "cats"}
    assert read_probes(tmp_path / "without") == []


def test_a_source_without_records_is_refused(nano):
    with pytest.raises(ValueError, match="'none' has no record"):
        Prober({"none": []}, nano.collator())

import json
import math

import pytest
import torch
import transformers as T
from torch import nn

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Loss, Objective, Sum
from vitrail.training import measuring, planning
from vitrail.training.checkpoints import DamagedCheckpoint
from vitrail.training.selection import select_parameters
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import NonFiniteLoss, train_stage


def records(bundle, count=16):
    turns = [("what is it?", "a " + "red " * (i % 5) + "cat") for i in range(count)]
    return [bundle.encoder.encode(chat(*turn, seed=i % 3, id=f"r{i}")) for i, turn in enumerate(turns)]


def stage(**changes):
    settings = {"name": "s", "max_steps": 4, "batch_size": 4, "precision": "float32", "learning_rate": 1e-2}
    return StageConfig(**{**settings, **changes})


def run(folder, bundle=None, objective=None, config=None, data=None, **options):
    bundle = bundle if bundle is not None else nano.build(seed=0)
    data = data if data is not None else records(bundle)
    objective = objective if objective is not None else NextToken()
    config = config if config is not None else stage()
    result = train_stage(
        bundle.model, data, bundle.collator(), objective, config, folder, device="cpu", **options
    )
    return result, bundle


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(bundle):
    return {name: value.detach().clone() for name, value in bundle.model.state_dict().items()}


class Listener:
    def __init__(self):
        self.notes, self.steps = [], []

    def start(self, stage):
        self.started = stage

    def step(self, report):
        self.steps.append(report)

    def note(self, text):
        self.notes.append(text)

    def end(self, stage):
        self.ended = stage


def test_only_what_is_named_changes(tmp_path):
    bundle = nano.build(seed=0)
    before = weights(bundle)
    result, _ = run(tmp_path / "s", bundle, config=stage(trains=("connector",)))
    changed = {name for name, value in weights(bundle).items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("connector.")}
    assert result.plan.trained_parameters == sum(before[name].numel() for name in changed)
    assert result.steps == 4 and math.isfinite(result.loss)


def test_the_gradient_reaches_what_trains_and_nothing_else(tmp_path):
    bundle, reached = nano.build(seed=0), set()
    select_parameters(bundle.model, ["language.layers"])
    for name, parameter in bundle.model.named_parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda _, name=name: reached.add(name))
    run(tmp_path / "s", bundle, config=stage(trains=("language.layers",), max_steps=1, warmup=0))
    assert reached == {
        name for name in dict(bundle.model.named_parameters()) if ".layers." in name and "tower" not in name
    }
    assert all(parameter.grad is None for parameter in bundle.model.parameters())


def test_it_learns(tmp_path):
    folder = tmp_path / "s"
    run(folder, config=stage(trains=("connector", "language"), max_steps=40, learning_rate=3e-3))
    losses = [row["loss"] for row in rows(folder)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("division", [(1, 8), (2, 4), (4, 2)])
def test_a_divided_batch_is_the_large_batch(tmp_path, division):
    size, accumulation = division
    config = {"trains": ("connector", "language"), "learning_rate": 1e-3, "max_steps": 4}
    _, large = run(tmp_path / "large", config=stage(batch_size=8, **config))
    _, small = run(tmp_path / "small", config=stage(batch_size=size, accumulation=accumulation, **config))
    for one, other in zip(rows(tmp_path / "large"), rows(tmp_path / "small"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=2e-4)
        assert (one["samples"], one["tokens"]) == (other["samples"], other["tokens"])
    for (name, one), other in zip(weights(large).items(), weights(small).values(), strict=True):
        assert torch.allclose(one, other, atol=5e-4), name


def test_the_logged_loss_is_the_objective_over_the_step(tmp_path):
    bundle = nano.build(seed=0)
    data = records(bundle, 4)
    expected = NextToken()(bundle.model, bundle.collator()(data)).total()
    run(tmp_path / "s", bundle, data=data, config=stage(max_steps=1, batch_size=2, accumulation=2))
    row = rows(tmp_path / "s")[0]
    assert row["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert row["terms"] == {"next_token": row["loss"]}
    assert row["tokens"] == sum(record.length for record in data) and row["samples"] == 4


def test_terms_are_logged_apart_and_parts_have_their_rates(tmp_path):
    objective = Sum([(1.0, NextToken(NextToken.Config(z_loss=1e-3))), (0.5, Halves())])
    rates = {"connector": 1e-2, "language": 1e-3}
    config = stage(trains=("connector", "language"), learning_rate=rates, warmup=0, schedule="constant")
    run(tmp_path / "s", objective=objective, config=config)
    row = rows(tmp_path / "s")[0]
    assert set(row["terms"]) == {"next_token", "z_loss", "halves"}
    combined = row["terms"]["next_token"] + 1e-3 * row["terms"]["z_loss"] + 0.5 * row["terms"]["halves"]
    assert row["loss"] == pytest.approx(combined)
    assert row["learning_rates"] == {**rates, "objective": 1e-2}
    assert (tmp_path / "s" / "objective.safetensors").exists()


class Halves(Objective):
    """Does not decompose, and owns a parameter."""

    terms, decomposes = ("halves",), False

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def count(self, batch):
        return len(batch["labels"])

    def forward(self, model, batch):
        units = self.count(batch)
        return Loss(
            {"halves": units * (self.level - batch["labels"].float().mean() / 1000) ** 2}, {"halves": units}
        )


def test_objectives_that_do_not_decompose_are_averaged_and_it_is_said(tmp_path):
    bundle, listener = nano.build(seed=0), Listener()
    objective = Halves()
    config = stage(max_steps=1, batch_size=2, accumulation=2, warmup=0, max_grad_norm=None)
    run(tmp_path / "s", bundle, objective, config, records(bundle, 4), progress=listener)
    assert any("does not decompose" in note for note in listener.notes)
    assert float(objective.level.detach()) != 0
    means = []
    data = sorted(records(bundle, 4), key=lambda record: record.length)
    for pair in (data[:2], data[2:]):
        means.append((bundle.collator()(pair)["labels"].float().mean() / 1000) ** 2)
    assert rows(tmp_path / "s")[0]["loss"] == pytest.approx(float(sum(means) / 2), rel=1e-4)


def test_a_finished_stage_is_not_run_again_and_gives_its_weights(tmp_path):
    first, trained = run(tmp_path / "s")
    fresh = nano.build(seed=0)
    calls = []
    fresh.model.register_forward_pre_hook(lambda *_: calls.append(1))
    again, _ = run(tmp_path / "s", fresh)
    assert again.already_done and not calls
    assert (again.loss, again.steps) == (first.loss, first.steps)
    for (name, one), other in zip(weights(trained).items(), weights(fresh).values(), strict=True):
        assert torch.equal(one, other), name


def test_checkpoints_left_behind_by_a_kill_after_the_end_are_cleared(tmp_path):
    run(tmp_path / "s")
    (tmp_path / "s" / "checkpoint-2").mkdir()
    assert run(tmp_path / "s")[0].already_done
    assert not list((tmp_path / "s").glob("checkpoint-*"))


def test_another_stage_in_the_same_folder_is_refused(tmp_path):
    run(tmp_path / "s")
    with pytest.raises(ValueError, match=r"begun with learning_rate=0.01, now it is 0.5"):
        run(tmp_path / "s", config=stage(learning_rate=0.5))
    with pytest.raises(ValueError, match="begun with records=16, now it is 8"):
        bundle = nano.build(seed=0)
        run(tmp_path / "s", bundle, data=records(bundle, 8))
    with pytest.raises(ValueError, match="begun with data=None"):
        run(tmp_path / "s", fingerprint="ab")
    with pytest.raises(ValueError, match="other frozen weights"):
        run(tmp_path / "s", nano.build(seed=1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'thesis.txt' but no stage.json"):
        run(tmp_path / "other")


class Breaks(NextToken):
    def __init__(self, when, value):
        super().__init__()
        self.when, self.value, self.calls = when, value, 0

    def forward(self, model, batch):
        loss = super().forward(model, batch)
        self.calls += 1
        factor = self.value if self.calls == self.when else 1.0
        return Loss({"next_token": loss.sums["next_token"] * factor}, loss.counts)


def test_a_loss_that_is_no_number_names_step_and_records(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"step 3: the loss is nan .* r\d+, r\d+.*checkpoint-2"):
        run(
            tmp_path / "s",
            objective=Breaks(3, float("nan")),
            config=stage(checkpoint_steps=1, checkpoints_kept=1),
        )
    assert [path.name for path in (tmp_path / "s").glob("checkpoint-*")] == ["checkpoint-2"]
    result, _ = run(tmp_path / "s", config=stage(checkpoint_steps=1, checkpoints_kept=1))
    assert result.resumed_from == 2 and result.steps == 4


def test_a_gradient_that_is_no_number_is_not_saved(tmp_path):
    class Infinite(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    class Bad(Breaks):
        def forward(self, model, batch):
            loss = super().forward(model, batch)
            bad = self.calls == self.when
            total = Infinite.apply(loss.sums["next_token"]) if bad else loss.sums["next_token"]
            return Loss({"next_token": total}, loss.counts)

    with pytest.raises(NonFiniteLoss, match=r"step 2: the gradient's norm is (nan|inf)"):
        run(tmp_path / "s", objective=Bad(2, 1.0), config=stage(checkpoint_steps=1))
    assert [path.name for path in (tmp_path / "s").glob("checkpoint-*")] == ["checkpoint-1"]
    assert [row["step"] for row in rows(tmp_path / "s")] == [1]


def interrupted(folder, at=4, **changes):
    config = stage(max_steps=6, checkpoint_steps=1, checkpoints_kept=3, **changes)
    with pytest.raises(NonFiniteLoss):
        run(folder, objective=Breaks(at, float("nan")), config=config)
    return config


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    config, listener = interrupted(tmp_path / "s"), Listener()
    (tmp_path / "s" / "checkpoint-3" / "optimizer.pt").unlink()
    result, _ = run(tmp_path / "s", config=config, progress=listener)
    assert result.resumed_from == 2
    assert any("checkpoint-3 is damaged (optimizer.pt is missing)" in note for note in listener.notes)
    run(tmp_path / "whole", config=config)
    assert [r["loss"] for r in rows(tmp_path / "s")] == [r["loss"] for r in rows(tmp_path / "whole")]


def test_without_a_whole_checkpoint_nothing_is_begun_anew(tmp_path):
    config = interrupted(tmp_path / "s")
    for path in (tmp_path / "s").glob("checkpoint-*"):
        (path / "optimizer.pt").unlink()
    with pytest.raises(DamagedCheckpoint, match="no whole checkpoint is left"):
        run(tmp_path / "s", config=config)


def test_nothing_that_is_read_back_is_a_pickle_of_objects(tmp_path):
    interrupted(tmp_path / "s")
    place = tmp_path / "s" / "checkpoint-3"
    assert not (place / "training_args.bin").exists()
    for path in place.glob("*.p*t*"):
        if path.name.startswith("rng"):
            continue  # numpy's state; transformers reads it with weights_only and a list of safe names
        torch.load(path, weights_only=True)


def test_a_time_budget_is_measured_once_and_does_not_change_the_trajectory(tmp_path):
    timed = stage(max_steps=4, max_minutes=5)
    result, _ = run(tmp_path / "timed", config=timed)
    assert result.plan.by == "max_steps" and result.plan.seconds_a_step > 0
    assert result.plan.usual_seconds_a_step >= result.plan.seconds_a_step
    run(tmp_path / "plain")
    assert [r["loss"] for r in rows(tmp_path / "timed")] == [r["loss"] for r in rows(tmp_path / "plain")]


def test_a_busy_machine_is_said_and_written_down(tmp_path, monkeypatch):
    found = measuring.StepTime(best=0.25, usual=0.6, busy=True)
    monkeypatch.setattr("vitrail.training.loop.StageTrainer.step_time", lambda _: found)
    listener = Listener()
    result, _ = run(tmp_path, config=stage(max_steps=4, max_minutes=5), progress=listener)
    written = json.loads((tmp_path / "plan.json").read_text())
    assert (written["busy"], written["seconds_a_step"], written["usual_seconds_a_step"]) == (True, 0.25, 0.6)
    assert any("busy" in note and "0.25 s at best" in note and "0.6 s" in note for note in listener.notes)
    assert result.plan.expected_seconds == 1.0  # the plan counts on the best


def test_a_resumed_stage_reads_its_plan(tmp_path, monkeypatch):
    measured = 1 + planning.TIMED_STEPS * measuring.ROUNDS
    config = interrupted(tmp_path / "s", at=measured + 4, max_minutes=5)
    written = (tmp_path / "s" / "plan.json").read_text()
    monkeypatch.setattr(
        "vitrail.training.loop.StageTrainer.step_time", lambda _: pytest.fail("measured again")
    )
    result, _ = run(tmp_path / "s", config=config)
    assert result.resumed_from == 3
    assert (tmp_path / "s" / "plan.json").read_text() == written


def test_warmup_that_does_not_fit_the_data_is_refused_before_a_step(tmp_path):
    with pytest.raises(ValueError, match="warmup=10 steps does not fit into a stage of 4"):
        run(tmp_path / "s", config=stage(max_steps=None, epochs=1, warmup=10))
    assert not (tmp_path / "s" / "plan.json").exists()


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path):
    config = {"trains": ("connector", "language"), "learning_rate": 1e-3}
    _, bundle = run(tmp_path / "with", config=stage(gradient_checkpointing=True, **config))
    assert any(getattr(module, "gradient_checkpointing", False) for module in bundle.model.modules())
    run(tmp_path / "without", config=stage(**config))
    for one, other in zip(rows(tmp_path / "with"), rows(tmp_path / "without"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
    run(tmp_path / "next", bundle)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in bundle.model.modules())


def test_two_stages_of_different_precision_in_one_process(tmp_path):
    _, bundle = run(tmp_path / "a", config=stage(precision="bfloat16"))
    seen = []
    bundle.model.connector.up.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    run(tmp_path / "b", bundle)
    assert set(seen) == {torch.float32}
    seen.clear()
    run(tmp_path / "c", bundle, config=stage(precision="bfloat16"))
    assert set(seen) == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in bundle.model.parameters())
    assert type(bundle.model.forward).__name__ == "method"  # autocast's wrapper is not left on the model


def test_half_weights_that_train_are_kept_in_float32(tmp_path):
    bundle = nano.build(seed=0)
    bundle.model.to(torch.bfloat16)
    run(tmp_path / "s", bundle, config=stage(precision="auto"))
    kinds = {name.split(".")[0]: p.dtype for name, p in bundle.model.named_parameters()}
    assert kinds["connector"] == torch.float32 and kinds["language"] == torch.bfloat16


def test_batch_norm_statistics_of_a_frozen_tower_stay(tmp_path):
    from vitrail.training.joint import Joint

    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    model[0].requires_grad_(False)
    joint = Joint(model, Halves()).train()
    model(torch.randn(8, 3))
    assert torch.equal(model[0].running_mean, torch.zeros(3))
    assert not torch.equal(model[1].running_mean, torch.zeros(3))
    assert joint.training


def test_listeners_hear_every_step(tmp_path):
    listener = Listener()
    run(tmp_path / "s", progress=listener)
    assert [report.step for report in listener.steps] == [1, 2, 3, 4]
    assert listener.started.steps == 4 and listener.ended == "s"


def test_trackers_get_the_terms(tmp_path):
    pytest.importorskip("tensorboard")
    run(tmp_path / "s", config=stage(report_to="tensorboard"))
    assert list((tmp_path / "s").rglob("events.*"))


def test_adapters_train_alone(tmp_path):
    from peft import LoraConfig, inject_adapter_in_model

    bundle = nano.build(seed=0)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj", "up_proj"]), bundle.model.get_decoder())
    before = weights(bundle)
    run(tmp_path / "s", bundle, config=stage(trains=("language.lora",)))
    changed = {name for name, value in weights(bundle).items() if not torch.equal(value, before[name])}
    assert changed and all("lora_" in name for name in changed)


def test_a_plain_language_model_and_a_llava_train_too(tmp_path):
    from vitrail.models.batches import Collator

    bundle = nano.build(seed=0)
    text = [bundle.encoder.encode(chat("say", "a cat", images=0, id=f"t{i}")) for i in range(4)]
    config = T.LlamaConfig(
        vocab_size=2000,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = T.LlamaForCausalLM(config)
    collator = Collator(bundle.pad_token_id, lambda images, counts: {})
    before = model.model.layers[0].mlp.up_proj.weight.detach().clone()
    result = train_stage(
        model, text, collator, NextToken(), stage(trains=("language",)), tmp_path / "s", device="cpu"
    )
    assert result.steps == 4
    assert not torch.equal(before, model.model.layers[0].mlp.up_proj.weight)


def test_data_smaller_than_a_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one optimiser step takes 32 records .* but the data has 16"):
        run(tmp_path / "s", config=stage(batch_size=32))

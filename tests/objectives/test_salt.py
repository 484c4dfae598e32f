"""SALT in a stage: the share of the teacher by step, its departure, and a resumed stage."""

import math

import pytest
import torch
import torch.nn.functional as F

from conftest import chat
from distilling import TEACHER, batch_of, calls, pair, same_state, state_of
from vitrail.objectives.mixed_distillation import mixed_distillation_loss
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.salt import OmegaSchedule, Salt
from vitrail.objectives.teacher import Teacher
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


def built(teacher, **settings):
    return Salt(Salt.Config(teacher=TEACHER, **{"n_kd": 2, **settings}), teacher=teacher)


def test_the_loss_is_the_mixed_one_at_labels():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog on a tree")
    objective = built(both.teacher, omega=0.6, temperature=0.5)
    loss = objective(both.student.model, batch)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    own, other = both.student.model(**inputs).logits, both.other.model(**inputs).logits
    expected = mixed_distillation_loss(own, other, batch["labels"], 0.6, 0.5)
    torch.testing.assert_close(loss.total(), expected)
    assert loss.weights == {"next_token": pytest.approx(0.4), "distillation": 0.6}
    assert loss.counts == objective.counts(batch)


def test_token_weights_multiply_both_parts():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog on a tree")
    weights = torch.ones(batch["labels"].shape)
    weights[1], weights[0] = 2.0, 0.0
    batch["loss_weights"] = weights
    loss = built(both.teacher, omega=0.5)(both.student.model, batch)
    one = {
        name: value[1:] if torch.is_tensor(value) else value.rows(torch.tensor([1]))
        for name, value in batch.items()
    }
    one["loss_weights"] = torch.ones_like(one["loss_weights"])
    single = built(both.teacher, omega=0.5)(both.student.model, one)
    for term in ("next_token", "distillation"):
        torch.testing.assert_close(loss.sums[term], 2 * single.sums[term])
        assert loss.counts[term] == single.counts[term]


def test_schedules():
    step = OmegaSchedule("step", 3, 0.6)
    assert (
        [step.at(j) for j in range(1, 6)] == [0.6, 0.6, 0.6, 0.0, 0.0] and step.ended(4) and not step.ended(3)
    )
    assert [OmegaSchedule("linear", 4, 0.8).at(j) for j in (1, 2, 4, 5)] == pytest.approx(
        [0.8, 0.6, 0.2, 0.0]
    )
    assert OmegaSchedule("cosine", 4, 1.0).at(3) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)
    assert OmegaSchedule("never", None, 0.5).at(10**6) == 0.5 and not OmegaSchedule("never", None).ended(
        10**6
    )
    for arguments, message in (
        (("step", 3, 1.5), "omega is 1.5"),
        (("step", None), "n_kd is needed"),
        (("never", 3), "n_kd has no effect"),
        (("step", 0), "n_kd is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            OmegaSchedule(*arguments)


def run(folder, both, objective, max_steps=5, **options):
    records = [
        both.student.encoder.encode(chat("what?", f"thing {i}", seed=i, images=i % 2)) for i in range(4)
    ]
    config = StageConfig(
        name="s", trains=("connector", "language"), learning_rate=1e-3, max_steps=max_steps, batch_size=2,
        length_batches=False, checkpoint_steps=1, checkpoint_minutes=None, **options,
    )  # fmt: skip
    return train_stage(
        both.student.model, records, both.student.collator(), objective, config, folder, device="cpu"
    )


def test_the_teacher_is_asked_in_the_first_steps_and_then_leaves(tmp_path):
    both = pair()
    before, other = state_of(both.other.model), calls(both.other.model)
    objective = built(both.teacher)
    result = run(tmp_path / "s", both, objective)
    assert len(other) == 2 and both.teacher.calls == 2 and not both.teacher.present
    assert same_state(before, state_of(both.other.model))
    assert all(p.grad is None for p in both.other.model.parameters())
    assert set(result.terms) == {"next_token"}
    import json

    rows = [json.loads(line) for line in (tmp_path / "s" / "metrics.jsonl").read_text().splitlines()]
    assert [set(row["terms"]) for row in rows] == [{"next_token", "distillation"}] * 2 + [{"next_token"}] * 3
    for row in rows[:2]:
        assert row["loss"] == pytest.approx(
            row["terms"]["next_token"] / 3 + 2 * row["terms"]["distillation"] / 3, rel=1e-4
        )


@pytest.mark.parametrize("killed", [1, 3])
def test_a_resumed_stage_has_the_same_losses(killed, tmp_path):
    whole = run(tmp_path / "whole", one := pair(), built(one.teacher))

    class Killed(Exception):
        pass

    class Killing(Salt):
        def at(self, step, steps):
            if step == killed + 1:
                raise Killed
            super().at(step, steps)

    two = pair()
    config = Salt.Config(teacher=TEACHER, n_kd=2)
    with pytest.raises(Killed):
        run(tmp_path / "killed", two, Killing(config, two.teacher))
    three = pair()
    again = run(tmp_path / "killed", three, Salt(config, three.teacher))
    assert again.resumed_from == killed and again.loss == whole.loss and again.terms == whole.terms
    assert three.teacher.calls == max(2 - killed, 0)
    assert same_state(state_of(one.student.model), state_of(three.student.model))


def test_a_share_of_the_steps_and_reverse_distillation():
    both = pair()
    batch = batch_of(both.student, "a red cat")
    objective = built(both.teacher, n_kd=0.25)
    for step, omega in ((1, 2 / 3), (2, 2 / 3), (3, 0.0)):
        objective.at(step, 8)
        assert objective.omega == omega
    always = built(both.teacher, n_kd=None, decay="never")
    always.at(8, 8)
    assert "distillation" in always(both.student.model, batch).sums
    objective.at(8, 8)
    plain = objective(both.student.model, batch)
    torch.testing.assert_close(plain.total(), NextToken()(both.student.model, batch).total())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_kd": 10}, "n_kd is 10 of 10 steps, so the teacher never leaves"),
        ({"n_kd": 2.5}, "n_kd is 2.5; give whole steps"),
        ({}, "n_kd is needed"),
        ({"n_kd": 3, "decay": "never"}, "has no effect with decay: never"),
        ({"n_kd": 3, "omega": 1.5}, "omega"),
        ({"n_kd": 3, "temperature": 0}, "temperature"),
        ({"n_kd": 3, "decay": "steps"}, "did you mean 'step'"),
    ],
)
def test_what_is_refused_when_the_recipe_is_read(settings, message):
    with pytest.raises(ValueError, match=message):
        StageConfig(name="s", max_steps=10, objective={"name": "salt", "teacher": "somewhere", **settings})


def test_a_teacher_in_training_mode_or_with_broken_weights_is_refused():
    both = pair()
    batch = batch_of(both.student, "a red cat")
    objective = built(both.teacher)
    objective(both.student.model, batch)
    both.other.model.train()
    with pytest.raises(ValueError, match="is in training mode"):
        objective(both.student.model, batch)
    both.other.model.eval()
    with torch.no_grad():
        both.other.model.get_output_embeddings().weight[0] = torch.nan
    with pytest.raises(ValueError, match="not numbers"):
        objective(both.student.model, batch)


def test_a_teacher_of_words_alone_reads_them_without_pictures():
    both = pair()
    words = both.other.model.language
    from vitrail.models.bundle import Bundle
    from vitrail.models.folders import ProcessorParts

    tokenizer = both.other.tokenizer
    tokenizer.chat_template = both.other.encoder.chat_template
    other = Bundle.of(words, ProcessorParts(tokenizer))
    teacher = Teacher.of(other, both.student)
    batch = batch_of(both.student, "a red cat", "a dog on a tree", images=[1, 2])
    objective = built(teacher, omega=1.0, temperature=1.0)
    assert teacher.text_alone
    loss = objective(both.student.model, batch)
    visual, expected, count = batch["layout"].visual, 0.0, 0
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    own = both.student.model(**inputs).logits
    for row in range(2):
        kept = (batch["attention_mask"][row].bool() & ~visual[row]).nonzero().flatten()
        p = words(batch["input_ids"][row, kept][None]).logits[0].softmax(-1)
        for place, position in enumerate(kept.tolist()):
            if position + 1 < len(visual[row]) and batch["labels"][row, position + 1] != -100:
                expected = expected - (p[place] * own[row, position].log_softmax(-1)).sum()
                count += 1
    torch.testing.assert_close(loss.sums["distillation"], expected, rtol=1e-4, atol=1e-4)
    assert loss.counts["distillation"] == count == int((F.pad(batch["labels"][:, 1:] != -100, (0, 1))).sum())

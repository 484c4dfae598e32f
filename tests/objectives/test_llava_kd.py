"""LLaVA-KD: what each term compares, what it leaves alone, and where its gradients go."""

import copy

import pytest
import torch
import torch.nn.functional as F

from conftest import chat
from distilling import TEACHER, batch_of, calls, gradients, pair, same_state, state_of
from vitrail.objectives.llava_kd import LlavaKD
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Sum
from vitrail.objectives.teacher import Teacher
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


def built(teacher, **settings):
    return LlavaKD(LlavaKD.Config(teacher=TEACHER, **settings), teacher=teacher)


@pytest.mark.parametrize("source", ["connector", "output"])
def test_a_teacher_like_the_student_gives_no_loss_and_no_gradient(source):
    both = pair(seed=0)
    objective = built(both.teacher, source=source)
    both.student.model.eval()
    loss = objective(both.student.model, batch_of(both.student, "a red cat", "a dog"))
    assert set(loss.sums) == {"response_kd", "visual_kd", "relation_kd"}
    assert all(abs(float(value.detach())) < 1e-5 for value in loss.sums.values())
    loss.total().backward()
    assert (
        max(float(p.grad.abs().max()) for p in both.student.model.parameters() if p.grad is not None) < 1e-5
    )


def test_the_terms_are_torchs_divergences_of_full_logits():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog on a tree")
    loss = built(both.teacher)(both.student.model, batch)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    own, other = both.student.model(**inputs).logits, both.other.model(**inputs).logits
    response, visual = F.pad(batch["labels"][:, 1:] != -100, (0, 1)), batch["layout"].visual
    for term, at in (("response_kd", response), ("visual_kd", visual)):
        expected = F.kl_div(own[at].log_softmax(-1), other[at].softmax(-1), reduction="sum")
        torch.testing.assert_close(loss.sums[term], expected, rtol=1e-4, atol=1e-4)
        assert loss.counts[term] == int(at.sum()) and float(expected.detach()) > 0
    rows = [
        F.normalize(one, dim=-1)
        for one in both.student.model(**inputs).image_hidden_states.split(visual.sum(1).tolist())
    ]
    theirs = [
        F.normalize(one, dim=-1)
        for one in both.other.model(**inputs).image_hidden_states.split(visual.sum(1).tolist())
    ]
    expected = sum(
        1 - F.cosine_similarity((a @ a.T).flatten(), (b @ b.T).flatten(), dim=0)
        for a, b in zip(rows, theirs, strict=True)
    )
    torch.testing.assert_close(loss.sums["relation_kd"], expected)
    assert loss.counts["relation_kd"] == 2 and 0 <= float(expected.detach()) <= 4
    assert loss.weights == {"response_kd": 1.0, "visual_kd": 1.0, "relation_kd": 0.5}


def test_it_reads_answers_and_pictures_and_nothing_else():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog on a tree")
    response, visual = F.pad(batch["labels"][:, 1:] != -100, (0, 1)), batch["layout"].visual
    objective = built(both.teacher, gamma=0)

    def disturbed(at):
        handle = both.student.model.get_output_embeddings().register_forward_hook(
            lambda _, __, logits: logits + 3 * torch.randn(logits.shape) * at[response | visual][:, None]
        )
        torch.manual_seed(0)
        with torch.no_grad():
            found = objective(both.student.model, batch).sums
        handle.remove()
        return found

    plain, elsewhere = disturbed(torch.zeros_like(visual)), disturbed(~(visual | response))
    seen, answered = disturbed(visual), disturbed(response)
    assert plain == elsewhere
    assert seen["visual_kd"] != plain["visual_kd"] and seen["response_kd"] == plain["response_kd"]
    assert answered["response_kd"] != plain["response_kd"] and answered["visual_kd"] == plain["visual_kd"]


def test_without_answers_the_visual_term_still_reaches_the_connector():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog")
    batch["labels"] = torch.full_like(batch["labels"], -100)
    loss = built(both.teacher, gamma=0)(both.student.model, batch)
    assert float(loss.sums["response_kd"].detach()) == 0 and loss.counts["response_kd"] == 0
    loss.total().backward()
    assert any(name.startswith("connector") for name in gradients(both.student.model))


@pytest.mark.parametrize("images", [[0, 0], [1, 0], [2, 1]])
def test_batches_with_few_or_many_pictures_are_finite(images):
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog", images=images)
    objective = built(both.teacher)
    loss = objective(both.student.model, batch)
    assert loss.counts == objective.counts(batch) and loss.counts["relation_kd"] == sum(images)
    total = loss.total()
    total.backward()
    assert torch.isfinite(total) and all(
        torch.isfinite(p.grad).all() for p in both.student.model.parameters() if p.grad is not None
    )


def test_without_visual_terms_it_is_response_distillation_and_without_any_language_modelling():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog")
    response = built(both.teacher, beta=0, gamma=0)
    assert response.terms == ("response_kd",)
    whole = built(both.teacher)(both.student.model, batch)
    torch.testing.assert_close(
        response(both.student.model, batch).sums["response_kd"], whole.sums["response_kd"]
    )
    before = both.teacher.calls
    none = Sum([(1.0, NextToken()), (1.0, built(both.teacher, alpha=0, beta=0, gamma=0))])
    torch.testing.assert_close(
        none(both.student.model, batch).total(), NextToken()(both.student.model, batch).total()
    )
    assert both.teacher.calls == before and not none.teachers()


def test_one_forward_of_each_and_the_teacher_stays_as_it_was():
    both = pair()
    objective = Sum([(1.0, NextToken()), (0.5, built(both.teacher))])
    before, own, other = state_of(both.other.model), calls(both.student.model), calls(both.other.model)
    objective.train()
    loss = objective(both.student.model, batch_of(both.student, "a red cat", "a dog"))
    loss.total().backward()
    assert (len(own), len(other)) == (1, 1)
    assert same_state(before, state_of(both.other.model)) and not both.other.model.training
    assert all(p.grad is None and not p.requires_grad for p in both.other.model.parameters())
    assert not list(objective.parameters()) and objective.state_dict().keys() == {"parts.1.teacher_mark"}
    assert objective.teachers() == [both.teacher]
    assert loss.weights == {"next_token": 1.0, "response_kd": 0.5, "visual_kd": 0.5, "relation_kd": 0.25}


def trained(folder, accumulation=1, trains=("connector",), steps=3, other=1, answers=8, **settings):
    both = pair(other)
    records = [
        both.student.encoder.encode(one)
        for one in [chat("what?", "a cat " * (1 + i % 3), seed=i, images=i % 3) for i in range(answers)]
    ]
    config = StageConfig(
        name="s", trains=trains, learning_rate=1e-2, max_steps=steps, batch_size=8 // accumulation, warmup=0,
        accumulation=accumulation, length_batches=False, schedule="constant", checkpoint_steps=2,
        checkpoint_minutes=None,
    )  # fmt: skip
    objective = Sum([(1.0, NextToken()), (0.7, built(both.teacher, **settings))])
    before = state_of(both.student.model)
    result = train_stage(
        both.student.model, records, both.student.collator(), objective, config, folder, device="cpu"
    )
    return both, before, result


def test_distilled_pretraining_changes_the_connector_alone(tmp_path):
    both, before, result = trained(tmp_path / "s")
    changed = {
        name for name, value in state_of(both.student.model).items() if not torch.equal(value, before[name])
    }
    assert changed and all(name.startswith("connector") for name in changed)
    assert set(result.terms) == {"next_token", "response_kd", "visual_kd", "relation_kd"}
    assert result.plan.trained_parameters == sum(p.numel() for p in both.student.model.connector.parameters())


def test_accumulation_equals_the_large_batch(tmp_path):
    one = trained(tmp_path / "1", trains=("connector", "language"), steps=2)[2]
    four = trained(tmp_path / "4", 4, trains=("connector", "language"), steps=2)[2]
    for term, value in one.terms.items():
        assert four.terms[term] == pytest.approx(value, rel=2e-4), term


def test_training_brings_the_student_near_the_teacher():
    both = pair()
    batch = batch_of(both.student, "a red cat", "a dog on a tree")
    objective = built(both.teacher)
    model = both.student.model.eval()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        total = objective(model, batch).total()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_a_stage_that_goes_on_with_another_teacher_is_refused(tmp_path):
    both = pair()
    objective = built(both.teacher)
    batch = batch_of(both.student, "a red cat", "a dog")
    objective(both.student.model, batch)
    stored = copy.deepcopy(objective.state_dict())
    assert int(stored["teacher_mark"]) != 0
    again = built(both.teacher)
    again.load_state_dict(stored)
    again(both.student.model, batch)
    other = built(Teacher.of(pair(2).other, both.student))
    other.load_state_dict(stored)
    with pytest.raises(ValueError, match="begun with another teacher"):
        other(both.student.model, batch)


def test_bad_settings_and_a_missing_teacher():
    both = pair()
    with pytest.raises(ValueError, match="has no teacher"):
        built(None)(both.student.model, batch_of(both.student, "a cat"))
    for wrong in ({"alpha": -1}, {"temperature": 0}, {"divergence": "kl"}, {"source": "tower"}, {"skew": 1}):
        with pytest.raises(ValueError):
            LlavaKD.Config(teacher=TEACHER, **wrong)
    for teacher in ({}, {"path": "a", "times": 2}, {"times": 0}):
        with pytest.raises(ValueError, match=r"one of path, recipe and times|greater than 0"):
            LlavaKD.Config(teacher=teacher)
    with pytest.raises(ValueError, match="alpha, beta and gamma are all 0"):
        StageConfig(
            name="s",
            max_steps=1,
            objective={"name": "llava_kd", "teacher": "t", "alpha": 0, "beta": 0, "gamma": 0},
        )

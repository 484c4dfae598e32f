"""The mixed loss against its definition, its gradient in closed form, and stored teachers."""

import pytest
import torch
import torch.nn.functional as F

from vitrail.objectives.mixed_distillation import (
    TopK,
    mixed_distillation_loss,
    soft_cross_entropy,
    top_k_targets,
)


def case(seed=0, words=11):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(3, 8, words, generator=generator)
    teacher = torch.randn(3, 8, words, generator=generator)
    labels = torch.randint(0, words, (3, 8), generator=generator)
    labels[0, 3:], labels[2, :5] = -100, -100
    return student, teacher, labels


def test_omega_zero_is_the_loss_of_transformers():
    from transformers.loss.loss_utils import ForCausalLMLoss

    student, teacher, labels = case()
    own = ForCausalLMLoss(student, labels, vocab_size=11)
    torch.testing.assert_close(mixed_distillation_loss(student, teacher, labels, 0.0), own)


def test_omega_one_with_a_certain_teacher_is_it_too():
    student, _, labels = case()
    certain = torch.full_like(student, -1e9)
    certain[:, :-1].scatter_(-1, labels[:, 1:].clamp(min=0)[..., None], 0.0)
    torch.testing.assert_close(
        mixed_distillation_loss(student, certain, labels, 1.0),
        mixed_distillation_loss(student, certain, labels, 0.0),
    )


@pytest.mark.parametrize("omega", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.25, 1.0])
def test_the_gradient_is_q_minus_the_mixed_target(omega, temperature):
    student, teacher, labels = case()
    student.requires_grad_()
    mixed_distillation_loss(student, teacher, labels, omega, temperature).backward()
    q, p = student.detach().softmax(-1), (teacher / temperature).softmax(-1)
    valid = F.pad(labels[:, 1:] != -100, (0, 1))
    onehot = F.one_hot(F.pad(labels[:, 1:], (0, 1)).clamp(min=0), 11).float()
    expected = (q - ((1 - omega) * onehot + omega * p)) * valid[..., None] / valid.sum()
    torch.testing.assert_close(student.grad, expected)


def test_a_teacher_like_the_student_pulls_nowhere():
    student, _, labels = case()
    student.requires_grad_()
    mixed_distillation_loss(student, student.detach(), labels, 1.0).backward()
    assert float(student.grad.abs().max()) < 1e-7


def test_unlabelled_positions_count_for_neither_part():
    student, teacher, labels = case()
    before = mixed_distillation_loss(student, teacher, labels, 0.5)
    valid = F.pad(labels[:, 1:] != -100, (0, 1))
    student[~valid], teacher[~valid] = 100 * torch.randn(11), 100 * torch.randn(11)
    torch.testing.assert_close(mixed_distillation_loss(student, teacher, labels, 0.5), before)
    masked = labels.clone()
    masked[1] = -100
    mask = torch.ones_like(labels, dtype=torch.bool)
    mask[1] = False
    torch.testing.assert_close(
        mixed_distillation_loss(student, teacher, labels, 0.5, mask=mask),
        mixed_distillation_loss(student, teacher, masked, 0.5),
    )


def test_a_stored_teacher_agrees_at_full_width_and_keeps_its_mass_otherwise():
    student, teacher, labels = case()
    valid = F.pad(labels[:, 1:] != -100, (0, 1))
    full = mixed_distillation_loss(student, teacher, labels, 0.7, 0.5)
    whole = top_k_targets(teacher[valid], 11, 0.5)
    torch.testing.assert_close(mixed_distillation_loss(student, whole, labels, 0.7, 0.5), full)
    three = top_k_targets(teacher[valid], 3, 0.5)
    q = student[valid].log_softmax(-1)
    expected = 0.0
    for row, words, mass in zip(q, three.words, three.mass, strict=True):
        others = [index for index in range(11) if index not in words.tolist()]
        expected -= float((mass * row[words]).sum() + (1 - mass.sum()) * row[others].logsumexp(0))
    assert float(soft_cross_entropy(student[valid], three)) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(three.mass.sum(-1) + three.rest, torch.ones(len(three.mass)))


def test_chunks_change_nothing():
    student, teacher, _ = case()
    student, teacher = student.flatten(0, 1).requires_grad_(), teacher.flatten(0, 1)
    weights = torch.rand(24, generator=torch.Generator().manual_seed(1))
    for target in (teacher, top_k_targets(teacher, 4)):
        whole = soft_cross_entropy(student, target, weights=weights)
        parts = soft_cross_entropy(student, target, weights=weights, chunk=5)
        torch.testing.assert_close(parts, whole)
        (one,), (two,) = torch.autograd.grad(whole, student), torch.autograd.grad(parts, student)
        torch.testing.assert_close(two, one)


def test_bad_input():
    student, teacher, labels = case()
    for change, message in (
        ({"omega": 1.5}, "omega is 1.5"),
        ({"omega": 0.5, "temperature": 0.0}, "temperature is 0"),
        ({"omega": 0.5, "labels": torch.full_like(labels, -100)}, "no token of the batch has a label"),
    ):
        with pytest.raises(ValueError, match=message):
            mixed_distillation_loss(student, teacher, **{"labels": labels, **change})
    with pytest.raises(ValueError, match="k is 0"):
        top_k_targets(teacher[0], 0)
    assert isinstance(top_k_targets(teacher[0], 1), TopK)

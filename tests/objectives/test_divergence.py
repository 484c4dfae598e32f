"""Divergences against their definitions, written out."""

import math

import pytest
import torch
import torch.nn.functional as F

from vitrail.objectives.divergence import divergence, divergence_sum

KINDS = ("forward_kl", "reverse_kl", "symmetric", "skew_forward", "skew_reverse", "js", "tv")


def logits(rows=6, words=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, words, generator=generator)


def plain(student, teacher, kind, temperature, skew=0.1):
    """Sums in Python floats, word by word."""

    def softmax(row):
        return [math.exp(v / temperature) / sum(math.exp(w / temperature) for w in row) for v in row]

    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    return sum(plain_at(softmax(own), softmax(other), kind, skew) for own, other in rows)


def plain_at(q, p, kind, skew):
    def kl(a, b):
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))

    def mix(a, b, share):
        return [share * x + (1 - share) * y for x, y in zip(a, b, strict=True)]

    return {
        "forward_kl": lambda: kl(p, q),
        "reverse_kl": lambda: kl(q, p),
        "symmetric": lambda: (kl(p, q) + kl(q, p)) / 2,
        "skew_forward": lambda: kl(p, mix(p, q, skew)),
        "skew_reverse": lambda: kl(q, mix(q, p, skew)),
        "js": lambda: (kl(p, mix(p, q, 0.5)) + kl(q, mix(p, q, 0.5))) / 2,
        "tv": lambda: sum(abs(x - y) for x, y in zip(p, q, strict=True)) / 2,
    }[kind]()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_it_equals_the_definition_in_chunks_and_is_zero_for_equal_sides(kind, temperature):
    student, teacher = logits(seed=1).requires_grad_(), logits(seed=2)
    whole = divergence_sum(student, teacher, kind, temperature)
    assert float(whole.detach()) == pytest.approx(plain(student, teacher, kind, temperature), rel=1e-5)
    (gradient,) = torch.autograd.grad(whole, student)
    chunks = divergence_sum(student, teacher, kind, temperature, chunk=4)
    (again,) = torch.autograd.grad(chunks, student)
    torch.testing.assert_close(chunks, whole)
    torch.testing.assert_close(again, gradient)
    same = divergence_sum(student, student, kind, temperature)
    (none,) = torch.autograd.grad(same, student)
    assert abs(float(same.detach())) < 1e-6 and float(none.abs().max()) < 1e-6
    assert float(whole.detach()) > 0


def test_forward_kl_is_torchs_on_masked_positions():
    student, teacher = logits(12, 9, 1).view(3, 4, 9), logits(12, 9, 2).view(3, 4, 9)
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    expected = F.kl_div(student[mask].log_softmax(-1), teacher[mask].softmax(-1), reduction="batchmean")
    torch.testing.assert_close(divergence(student, teacher, mask), expected)
    student[1] += 7 * torch.randn(4, 9)
    torch.testing.assert_close(divergence(student, teacher, mask), expected)
    assert float(divergence(student, teacher, torch.zeros_like(mask))) == 0


def test_heads_of_different_width_are_cut_to_the_words_that_both_know():
    student, teacher = logits(words=12, seed=1), logits(words=9, seed=2)
    torch.testing.assert_close(divergence(student, teacher), divergence(student[:, :9], teacher))
    cut = divergence_sum(student, teacher, vocabulary=7)
    torch.testing.assert_close(cut, divergence_sum(student[:, :7], teacher[:, :7]))


def test_infinite_logits_add_nothing_and_give_no_nan():
    student, teacher = logits(seed=1), logits(seed=2)
    teacher[:, 3], student[:, 5] = -torch.inf, -torch.inf
    student.requires_grad_()
    for kind in KINDS:
        found = divergence_sum(student, teacher, kind)
        (gradient,) = torch.autograd.grad(found, student)
        assert torch.isfinite(found) and torch.isfinite(gradient).all(), kind


def test_weights_multiply_positions_and_the_teacher_gets_no_gradient():
    student, teacher = logits(seed=1).requires_grad_(), logits(seed=2).requires_grad_()
    weights = torch.tensor([0.0, 1, 2, 0, 0, 3])
    found = divergence_sum(student, teacher, weights=weights, chunk=4)
    single = [divergence_sum(student[i : i + 1], teacher[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(found, sum(w * one for w, one in zip(weights, single, strict=True)))
    found.backward()
    assert teacher.grad is None and float(student.grad[0].abs().max()) == 0


def test_bad_settings():
    for arguments, message in (
        ({"temperature": 0.0}, "temperature is 0"),
        ({"skew": 1.0}, "skew is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            divergence(logits(), logits(), **arguments)

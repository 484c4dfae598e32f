"""The chunked head against all logits at once: values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from vitrail.objectives.linear_cross_entropy import (
    FEWEST_TOKENS,
    LOGITS_A_CHUNK,
    Scaling,
    by_token,
    chunk_of,
    summed,
)

SCALINGS = {"none": Scaling(), "factor": Scaling(0.3), "cap": Scaling(cap=5.0), "both": Scaling(2.0, 5.0)}


def parts(tokens=23, hidden=8, vocab=40, dtype=torch.float64, bias=True):
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator).to(dtype).requires_grad_()

    labels = torch.randint(0, vocab, (tokens,), generator=generator)
    labels[[0, 7]] = -100
    return noise(tokens, hidden), 2 * noise(vocab, hidden).detach(), noise(vocab) if bias else None, labels


def whole(states, weight, labels, bias, scaling, smoothing):
    logits = scaling(F.linear(states, weight, bias))
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return losses, torch.logsumexp(logits, dim=-1)


def gradients(loss, *tensors):
    return torch.autograd.grad(loss, [one for one in tensors if one is not None])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("chunk", [1, 5, 23, 100])
def test_both_ways_equal_all_logits_at_once(scaling, smoothing, chunk):
    states, weight, bias, labels = parts()
    weight.requires_grad_()
    options = {"scaling": SCALINGS[scaling], "label_smoothing": smoothing, "chunk": chunk}
    factors = torch.rand(len(labels), dtype=torch.float64)
    losses, log_z = whole(states, weight, labels, bias, SCALINGS[scaling], smoothing)
    reference = (losses * factors).sum()
    total = summed(states, weight, labels, bias, factors=factors, **options)
    assert torch.allclose(total, reference, rtol=1e-12)
    near(gradients(3 * total, states, weight, bias), gradients(3 * reference, states, weight, bias))
    losses, log_z = whole(states, weight, labels, bias, SCALINGS[scaling], smoothing)
    found, found_z = by_token(states, weight, labels, bias, **options)
    assert torch.allclose(found, losses, rtol=1e-12) and torch.allclose(found_z, log_z, rtol=1e-12)
    use = [(one * factors).sum() + 0.3 * z.square().mean() for one, z in ((found, found_z), (losses, log_z))]
    near(*(gradients(loss, states, weight, bias) for loss in use))


def near(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_float32_is_within_rounding_and_an_ignored_label_counts_nothing():
    states, weight, _, labels = parts(tokens=300, hidden=64, vocab=500, dtype=torch.float32, bias=False)
    weight = (weight / 8).requires_grad_()
    reference = F.cross_entropy(F.linear(states, weight), labels, reduction="sum")
    total = summed(states, weight, labels, chunk=37)
    assert torch.allclose(total, reference, rtol=1e-6)
    one, other = gradients(total, states, weight), gradients(reference, states, weight)
    for made, wanted in zip(one, other, strict=True):
        assert (made - wanted).abs().max() < 1e-6 * wanted.abs().max() + 1e-7
    assert not one[0][labels == -100].any()
    assert float(by_token(states, weight, labels)[0][0].detach()) == 0


def test_under_autocast_products_are_of_its_type_and_sums_are_not():
    states, weight, _, labels = parts(tokens=64, hidden=32, vocab=200, dtype=torch.float32, bias=False)
    weight = (weight / 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        reference = F.cross_entropy(F.linear(states, weight).float(), labels, reduction="sum")
        total = summed(states, weight, labels, chunk=10)
        losses = by_token(states, weight, labels, chunk=10)[0]
    assert total.dtype == losses.dtype == torch.float32
    assert torch.allclose(total, reference, rtol=1e-6) and torch.allclose(losses.sum(), reference, rtol=1e-6)
    exact = gradients(F.cross_entropy(F.linear(states, weight), labels, reduction="sum"), states, weight)
    plain = gradients(reference, states, weight)
    for loss in (total, losses.sum()):
        for made, wanted, usual in zip(gradients(loss, states, weight), exact, plain, strict=True):
            assert made.dtype == torch.float32
            assert (made - wanted).norm() < 1.5 * (
                usual - wanted
            ).norm()  # no further off than a linear layer's


def test_only_what_trains_gets_a_gradient_and_nothing_is_made_without_one():
    states, weight, bias, labels = parts()
    total = summed(states, weight, labels, bias.detach(), chunk=4)
    total.backward()
    assert states.grad is not None and weight.grad is None
    with pytest.raises(RuntimeError, match=r"second time|used already"):
        total.backward()
    with torch.no_grad():
        quiet = summed(states, weight, labels, chunk=4)
    assert not quiet.requires_grad


def test_a_tied_head_gets_both_gradients():
    _, weight, _, labels = parts()
    weight.requires_grad_()
    ids = torch.arange(len(labels))
    for chunk in (None, 6):
        states = F.embedding(ids, weight).tanh()
        one = gradients(summed(states, weight, labels, chunk=chunk), weight)
        reference = F.cross_entropy(
            F.linear(F.embedding(ids, weight).tanh(), weight), labels, reduction="sum"
        )
        near(one, gradients(reference, weight))


def test_no_tokens_give_zero_and_a_gradient_of_zeros():
    states, weight, _, _ = parts()
    weight.requires_grad_()
    none = states[:0]
    for total in (
        summed(none, weight, torch.zeros(0).long()),
        by_token(none, weight, torch.zeros(0).long())[0].sum(),
    ):
        assert float(total.detach()) == 0
        assert not any(one.any() for one in gradients(total, states, weight))


def test_logits_never_exist_all_at_once(monkeypatch):
    states, weight, _, labels = parts(tokens=1000, vocab=300)
    largest, linear = [0], F.linear

    def watched(*arguments):
        out = linear(*arguments)
        largest[0] = max(largest[0], out.shape[0])
        return out

    monkeypatch.setattr(F, "linear", watched)
    summed(states, weight, labels, chunk=50).backward()
    assert largest == [50]


def test_a_chunk_fits_its_room_but_is_never_tiny():
    assert chunk_of(2**16, "cpu") == FEWEST_TOKENS == LOGITS_A_CHUNK["cpu"] // 2**16
    assert chunk_of(2**10, "cpu") == 2**13 and chunk_of(10**6, "cpu") == FEWEST_TOKENS
    assert chunk_of(2**16, "cuda") == 2**11
    states, weight, _, labels = parts()
    with pytest.raises(ValueError, match="chunk is 0"):
        summed(states, weight, labels, chunk=0)

"""RagLLaVA's objective: the noise, the weights, and the loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from conftest import chat
from vitrail.models.loading import load
from vitrail.objectives.ragllava import (
    RagLLaVA,
    diffusion_noise,
    kept_share,
    noise_weighted_loss,
    visual_weights,
)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_noise_has_the_variance_of_forward_diffusion():
    x = 3 * drawn(0, 200, 200)
    for t in (0, 500, 999):
        share = float(kept_share()[t])
        noisy = diffusion_noise(x, t, generator=torch.Generator().manual_seed(1))
        assert float(noisy.var()) == pytest.approx(share * float(x.var()) + 1 - share, rel=0.02)
    assert float((diffusion_noise(x, 0) - x).abs().max()) < 0.05
    beta = torch.sigmoid(torch.linspace(-6, 6, 1000)) * (0.005 - 1e-5) + 1e-5
    assert float(kept_share()[500]) == pytest.approx(float((1 - beta)[:501].prod()), rel=1e-4)
    both = diffusion_noise([x[:3], x[:5, :2]], 10)
    assert [one.shape for one in both] == [(3, 200), (5, 2)]
    with pytest.raises(ValueError, match="t is 1000"):
        diffusion_noise(x, 1000)


def slow_weights(d, learnt, low, high, pool):
    """As the card says it, token by token, within runs of learnt tokens."""
    out = torch.zeros_like(d)
    for row in range(d.shape[0]):
        for i in range(d.shape[1]):
            if learnt[row, i]:
                near = [
                    float(d[row, j].clamp(low, high))
                    for j in range(i - pool // 2, i + pool // 2 + 1)
                    if 0 <= j < d.shape[1] and learnt[row, j]
                ]
                out[row, i] = sum(near) / len(near)
    return out


def test_weights_are_the_bounded_and_pooled_sensitivity():
    d = 4 * drawn(2, 3, 12)
    learnt = torch.ones(3, 12, dtype=torch.bool)
    found = visual_weights(d, learnt)
    expected = F.avg_pool1d(d.clamp(1, 5).unsqueeze(1), 3, 1, 1, count_include_pad=False).squeeze(1)
    torch.testing.assert_close(found, expected)
    assert float(found.min()) >= 1 and float(found.max()) <= 5
    assert float(found[0, 0]) == pytest.approx(float(d[0, :2].clamp(1, 5).mean()))
    learnt = drawn(3, 3, 12) > -0.5
    torch.testing.assert_close(visual_weights(d, learnt), slow_weights(d, learnt, 1, 5, 3))


def test_the_loss():
    logits, noisy = drawn(4, 2, 6, 9).requires_grad_(), drawn(5, 2, 6, 9).requires_grad_()
    labels = torch.randint(0, 9, (2, 6), generator=torch.Generator().manual_seed(6))
    labels[:, :2] = -100
    plain = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(noise_weighted_loss(logits, logits, labels), plain)
    loss = noise_weighted_loss(logits, noisy, labels)
    assert not torch.isclose(loss, plain)
    loss.backward()
    assert noisy.grad is None and float(logits.grad.abs().sum()) > 0
    shifted = noise_weighted_loss(logits + 2, noisy + 2, labels)
    torch.testing.assert_close(shifted, loss)
    assert not torch.isclose(noise_weighted_loss(logits, noisy - 3, labels), loss)
    with pytest.raises(ValueError, match="no label is learnt"):
        noise_weighted_loss(logits, noisy, torch.full_like(labels, -100))


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "smolvlm"])
def test_in_a_model_it_is_the_loss_of_two_calls(family, saved_family):
    bundle = load(str(saved_family(family)))
    encoded = [
        bundle.encoder.encode(chat("what is it", answer, seed=seed))
        for seed, answer in enumerate(("a red cat on a tree", "a dog"))
    ]
    batch = bundle.collator()(encoded)
    objective = RagLLaVA(RagLLaVA.Config(low=0.01))
    objective.at(3, 10)
    loss = objective(bundle.model, batch)
    noisy = objective._noisy(batch)
    assert not torch.equal(noisy["pixel_values"], batch["pixel_values"])

    def logits(one):
        dropped = ("labels", "layout", "loss_weights")
        return bundle.model(**{k: v for k, v in one.items() if k not in dropped}, use_cache=False).logits

    expected = noise_weighted_loss(
        logits(batch)[:, :-1], logits(noisy)[:, :-1], batch["labels"][:, 1:], low=0.01
    )
    torch.testing.assert_close(loss.total(), expected)
    loss.total().backward()
    assert any(parameter.grad is not None for parameter in bundle.model.parameters())
    again = RagLLaVA(RagLLaVA.Config(low=0.01))
    again.at(3, 10)
    assert torch.equal(again(bundle.model, batch).total(), loss.total()), "a resumed stage draws the same"
    again.at(4, 10)
    assert not torch.equal(again(bundle.model, batch).total(), loss.total())


def test_words_alone_are_plain_next_tokens_and_features_are_refused(saved_family):
    bundle = load(str(saved_family("llava")))
    batch = bundle.collator()([bundle.encoder.encode(chat("what", "a cat", images=0))])
    logits = bundle.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    plain = F.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
    torch.testing.assert_close(RagLLaVA()(bundle.model, batch).total(), plain)
    with pytest.raises(ValueError, match="puts noise into pixels"):
        RagLLaVA()._noisy({**batch, "vision_features": torch.zeros(1)})
    for wrong, message in (
        ({"low": 3, "high": 2}, "in order"),
        ({"pool": 2}, "odd"),
        ({"step": 1000}, "step"),
    ):
        with pytest.raises(ValueError, match=message):
            RagLLaVA.Config(**wrong)

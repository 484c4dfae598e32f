import pytest
import torch
import torch.nn.functional as F

import families
from conftest import chat
from vitrail.models.layout import Layout
from vitrail.objectives.next_token import NextToken


def llama():
    torch.manual_seed(0)
    return families.llama()


def llava():
    torch.manual_seed(0)
    return families.llava()[0]


def batch(images: bool = False):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 140, (3, 30), generator=generator)
    mask = torch.ones_like(ids)
    labels = torch.where(torch.rand(ids.shape, generator=generator) < 0.3, ids, -100)
    labels[0, 0] = ids[0, 0]  # the first token is predicted by nothing
    ids[1, 25:], mask[1, 25:], labels[1, 25:] = 0, 0, -100
    made = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    if images:
        ids[:, 1:17], labels[:, 1:17] = 150, -100
        made["pixel_values"] = torch.randn(3, 3, 16, 16, generator=generator)
    return made


def plain(model, made, weights=None, smoothing=0.0, z_loss=0.0):
    """Full logits, a loop over tokens, and the definition."""
    inputs = {name: value for name, value in made.items() if name not in ("labels", "loss_weights", "layout")}
    logits = model(**inputs).logits
    total = torch.zeros(())
    for row in range(len(logits)):
        for place in range(1, logits.shape[1]):
            label = made["labels"][row, place]
            if label == -100:
                continue
            logp = logits[row, place - 1].log_softmax(-1)
            one = -(1 - smoothing) * logp[label] - smoothing * logp.mean()
            one = one + z_loss * torch.logsumexp(logits[row, place - 1], -1) ** 2
            total = total + (1.0 if weights is None else weights[row, place]) * one
    return total


@pytest.mark.parametrize("make,images", [(llama, False), (llava, True)])
def test_labelled_logits_equal_full_logits(make, images):
    model, made = make(), batch(images)
    loss = NextToken()(model, made)
    reference = plain(model, made)
    assert torch.allclose(loss.sums["next_token"], reference, rtol=1e-5)
    counted = int((made["labels"][:, 1:] != -100).sum())
    assert loss.counts["next_token"] == NextToken().count(made) == counted
    reference.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    loss.sums["next_token"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name not in expected)
        if name in expected:
            assert torch.allclose(parameter.grad, expected[name], atol=1e-4), name


def test_logits_are_computed_at_labels_only():
    model, made = llama(), batch()
    rows = []
    model.lm_head.register_forward_hook(lambda _, __, output: rows.append(output.reshape(-1, 200).shape[0]))
    loss = NextToken()(model, made)
    assert rows == [loss.counts["next_token"]]


def test_smoothing_and_z_loss_equal_their_definitions():
    model, made = llama(), batch()
    objective = NextToken(NextToken.Config(label_smoothing=0.1, z_loss=0.01))
    loss = objective(model, made)
    assert objective.terms == ("next_token", "z_loss")
    assert objective.counts(made).keys() == {"next_token", "z_loss"}
    total = loss.total() * loss.counts["next_token"]
    assert torch.allclose(total, plain(model, made, smoothing=0.1, z_loss=0.01), rtol=1e-5)


def test_weights_multiply_and_zero_leaves_out():
    model, made = llama(), batch()
    weights = torch.full(made["labels"].shape, 2.0)
    weights[2] = 0.0
    weighted = {**made, "loss_weights": weights}
    loss = NextToken()(model, weighted)
    assert torch.allclose(loss.sums["next_token"], plain(model, made, weights), rtol=1e-5)
    counted = int((made["labels"][:2, 1:] != -100).sum())
    assert loss.counts["next_token"] == NextToken().count(weighted) == counted


def test_weights_come_from_the_layout(nano):
    encoder, collator = nano.encoder, nano.collator()
    once = chat("what?", "a red cat", "and here?", "a dog")
    first = once.messages[1].model_copy(update={"weight": 3.0})
    thrice = once.model_copy(update={"messages": (once.messages[0], first, *once.messages[2:])})
    plain_batch, heavy_batch = collator([encoder.encode(once)]), collator([encoder.encode(thrice)])
    assert isinstance(heavy_batch["layout"], Layout)
    only_first = {
        **plain_batch,
        "labels": plain_batch["labels"].masked_fill(heavy_batch["layout"].weight != 3, -100),
    }
    base, heavy, part = (
        float(NextToken()(nano.model, one).sums["next_token"].detach())
        for one in (plain_batch, heavy_batch, only_first)
    )
    assert heavy == pytest.approx(base + 2 * part, rel=1e-5)


def test_our_model_equals_full_logits(nano):
    records = [
        chat("what?", "a red cat", seed=1),
        chat("which of these?", "the second one", images=2, seed=2),
    ]
    made = nano.collator()([nano.encoder.encode(record) for record in records])
    loss = NextToken()(nano.model, made)
    inputs = {name: value for name, value in made.items() if name != "labels"}
    logits = nano.model(**inputs).logits
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), made["labels"][:, 1:].flatten(), reduction="sum")
    assert torch.allclose(loss.sums["next_token"], expected, rtol=1e-5)


def test_a_batch_without_labels_trains_nothing_and_breaks_nothing():
    model, made = llama(), batch()
    made["labels"] = torch.full_like(made["labels"], -100)
    loss = NextToken()(model, made)
    loss.total().backward()
    assert float(loss.total().detach()) == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_packed_and_cached_models_are_called_without_cache():
    model, seen = llama(), []
    model.model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["use_cache"]), with_kwargs=True
    )
    NextToken()(model, batch())
    assert seen == [False]

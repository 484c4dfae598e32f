"""DPO: its loss by hand, its references, what trains, and a resumed stage."""

import math

import pytest
import torch

from conftest import chat
from vitrail.data.records import Message
from vitrail.inference.sequences import precompute_reference, sequence_logp
from vitrail.models.preferences import PreferenceCollator, encode_preference
from vitrail.objectives.preference import DPO, dpo_loss
from vitrail.objectives.teacher import Teacher


def preference(better="a red cat", worse="a dog on a tree", seed=0, **fields):
    said = chat("What is here?", better, seed=seed)
    rejected = (Message(role="assistant", content=worse),)
    return said.model_copy(update={"rejected": rejected, "id": f"p{seed}", **fields})


def batch_of(bundle, *records):
    collator = PreferenceCollator.of(bundle.collator("right"))
    return collator([encode_preference(bundle.encoder, record) for record in records])


def test_loss_by_hand():
    """The numbers of TRL's sigmoid loss: ``-log sigmoid(beta * ((pc - pr) - (rc - rr)))``."""
    pc, pr = torch.tensor([-3.0, -7.0]), torch.tensor([-4.0, -2.0])
    rc, rr = torch.tensor([-3.5, -5.0]), torch.tensor([-3.0, -6.0])
    found = dpo_loss(pc, pr, rc, rr, beta=0.1)
    expected = [-math.log(1 / (1 + math.exp(-0.1 * margin))) for margin in (1.0 + 0.5, -5.0 - 1.0)]
    assert found.losses.tolist() == pytest.approx(expected)
    assert found.chosen_rewards.tolist() == pytest.approx([0.05, -0.2])
    assert found.rejected_rewards.tolist() == pytest.approx([-0.1, 0.4])
    swapped = dpo_loss(pr, pc, rr, rc, beta=0.1)  # the logit changes its sign
    logit = lambda losses: -torch.log(torch.expm1(losses.double()))  # noqa: E731
    torch.testing.assert_close(logit(swapped.losses), -logit(found.losses), rtol=1e-4, atol=1e-4)


def test_bad_values_are_refused():
    one = torch.tensor([-1.0])
    with pytest.raises(ValueError, match=r"beta is 0\.0"):
        dpo_loss(one, one, one, one, beta=0.0)
    with pytest.raises(ValueError, match="policy_rejected has log-probabilities that are not finite"):
        dpo_loss(one, one * torch.nan, one, one)
    with pytest.raises(ValueError, match="both name the reference"):
        DPO.check(DPO.Config(stored=True, teacher={"path": "x"}), None)


def test_it_begins_at_log_2_and_raises_the_chosen(fresh_nano):
    bundle = fresh_nano
    batch = batch_of(bundle, preference(), preference("two pears", "three", seed=1))
    objective = DPO(model=bundle.model)
    before = sequence_logp(bundle.model.eval(), batch).sum.detach()
    loss = objective(bundle.model, batch)
    assert loss.counts["dpo"] == objective.count(batch) == 2
    torch.testing.assert_close(loss.total(), torch.tensor(math.log(2)), atol=1e-6, rtol=0)
    loss.total().backward()
    with torch.no_grad():
        for parameter in bundle.model.parameters():
            if parameter.grad is not None:
                parameter -= 0.5 * parameter.grad
    after = sequence_logp(bundle.model, batch).sum.detach()
    gained = after - before
    assert bool((gained[0::2] > gained[1::2]).all())
    # The reference is still where the stage began.
    again = objective(bundle.model, batch)
    assert float(again.sums["dpo"].detach()) < 2 * math.log(2)
    rewards = 0.1 * gained
    assert float(again.sums["dpo_chosen_reward"]) == pytest.approx(float(rewards[0::2].sum()), abs=1e-4)
    assert float(again.sums["dpo_accuracy"]) == 2


def test_stored_live_and_starting_references_agree(fresh_nano):
    from vitrail.models.testbeds import nano

    bundle, other = fresh_nano, nano.build(seed=3)
    records = [preference(), preference("two pears", "three", seed=1)]
    stored = precompute_reference(other, records)
    settings = DPO.Config(stored=True, sft_weight=0.5)
    by_store = DPO(settings)(bundle.model, batch_of(bundle, *stored))
    teacher = Teacher.of(other, bundle)
    live = DPO(DPO.Config(teacher={"path": "x"}, sft_weight=0.5), teacher=teacher)
    collator = PreferenceCollator.of(bundle.collator("right"))
    teacher.feed(collator)
    by_teacher = live(bundle.model, collator([encode_preference(bundle.encoder, one) for one in records]))
    for term in live.terms:
        torch.testing.assert_close(by_store.sums[term], by_teacher.sums[term], atol=1e-4, rtol=1e-5)
    by_teacher.total().backward()
    assert all(parameter.grad is None for parameter in other.model.parameters())
    with pytest.raises(ValueError, match=r"has no meta\.reference_logps"):
        DPO(settings)(bundle.model, batch_of(bundle, *records))


def test_sums_add_up_over_micro_batches(nano):
    records = [preference(), preference("two pears", "three", seed=1), preference("a", "b c", seed=2)]
    objective = DPO(model=nano.model)
    with torch.no_grad():
        whole = objective(nano.model, batch_of(nano, *records))
        parts = [objective(nano.model, batch_of(nano, one)) for one in records]
    for term in objective.terms:
        torch.testing.assert_close(
            whole.sums[term], sum(part.sums[term] for part in parts), atol=1e-5, rtol=0
        )


def test_a_batch_without_preferences_is_refused(nano):
    plain = nano.collator("right")([nano.encoder.encode(chat("What?", "a cat"))])
    with pytest.raises(ValueError, match="holds no preferences"):
        DPO(model=nano.model).count(plain)

"""One call of the model for several objectives: what is read, how often the model runs, on every kind of family."""

import copy

import pytest
import torch
import torch.nn.functional as F

import families
from conftest import chat
from vitrail.models.loading import load
from vitrail.models.logits import unwrapped
from vitrail.objectives.forward import Needs, look
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Loss, Objective, Sum
from vitrail.objectives.routing import Routed
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


def batch_of(bundle, *turns, images=1):
    records = [chat("what is it?", answer, images=images, seed=i) for i, answer in enumerate(turns)]
    return bundle.collator()([bundle.encoder.encode(one) for one in records])


class Entropy(Objective):
    """The negative entropy at labels, from the same logits as next token."""

    terms = ("entropy",)

    def count(self, batch):
        return int((batch["labels"][:, 1:] != -100).sum())

    def needs(self, batch):
        return Needs(logits=F.pad(batch["labels"][:, 1:] != -100, (0, 1)))

    def read(self, seen, batch, noted):
        logp = seen.logits(self.needs(batch).logits).float().log_softmax(-1)
        return Loss({"entropy": (logp.exp() * logp).sum()}, {"entropy": self.count(batch)})


class Visual(Objective):
    """The length of visual tokens before and behind the decoder."""

    terms = ("entering", "leaving")

    def count(self, batch):
        return int(batch["layout"].visual.sum())

    def needs(self, batch):
        visual = batch["layout"].visual
        return Needs(embeddings=visual, states=visual)

    def read(self, seen, batch, noted):
        visual = batch["layout"].visual
        sums = {
            "entering": seen.embeddings(visual).square().sum(),
            "leaving": seen.states(visual).square().sum(),
        }
        return Loss(sums, dict.fromkeys(self.terms, self.count(batch)))


class Own(Objective):
    """Calls the model itself, with other labels."""

    terms = ("own",)

    def count(self, batch):
        return NextToken().count(batch)

    def forward(self, model, batch):
        loss = NextToken()(model, {**batch, "labels": batch["labels"].roll(1, 0)})
        return Loss({"own": loss.sums["next_token"]}, {"own": loss.counts["next_token"]})


def calls(model):
    seen = []
    unwrapped(model).register_forward_hook(lambda *_: seen.append(1))
    return seen


def test_a_sum_equals_its_parts_run_alone_and_calls_the_model_once(nano):
    model = copy.deepcopy(nano.model)
    batch = batch_of(nano, "a red cat", "a dog on a tree")
    parts = [(1.0, NextToken()), (0.3, Entropy()), (0.1, Visual())]
    separate = [part(model, batch) for _, part in parts]
    expected = sum(weight * loss.total() for (weight, _), loss in zip(parts, separate, strict=True))
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    seen = calls(model)
    loss = Sum(parts)(model, batch)
    assert len(seen) == 1
    torch.testing.assert_close(loss.total(), expected)
    for one in separate:
        for term, value in one.sums.items():
            torch.testing.assert_close(loss.sums[term], value)
    loss.total().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == gradients.keys()
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


def test_a_part_with_a_view_of_its_own_calls_the_model_itself(nano):
    model = copy.deepcopy(nano.model)
    seen = calls(model)
    batch = batch_of(nano, "a red cat", "a dog on a tree")
    loss = Sum([(1.0, NextToken()), (1.0, Own()), (1.0, Entropy())])(model, batch)
    assert len(seen) == 2
    torch.testing.assert_close(loss.sums["own"], Own()(model, batch).sums["own"])


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm", "gemma3"])
def test_what_enters_and_leaves_the_decoder_is_found_in_every_family(family, saved_family):
    bundle = load(saved_family(family))
    batch = batch_of(bundle, "a red cat", "a dog")
    visual = batch["layout"].visual
    seen = look(bundle.model, batch, Needs(visual, visual, visual))
    full = look(bundle.model, batch, Needs(torch.ones_like(visual), torch.ones_like(visual)))
    at = torch.ones_like(visual)
    torch.testing.assert_close(seen.logits(visual), full.logits(at)[visual.flatten()])
    head = bundle.model.get_output_embeddings()
    if family != "gemma3":  # a soft cap may stand behind the head
        torch.testing.assert_close(head(seen.states(visual)), seen.logits(visual), rtol=1e-4, atol=1e-5)
    named = {"pixel_values", "image_grid_thw", "pixel_attention_mask"}
    pictures = {name: value for name, value in batch.items() if name in named}
    tokens = bundle.model.get_image_features(**pictures).pooler_output
    tokens = torch.cat(list(tokens)) if isinstance(tokens, (tuple, list)) else tokens
    torch.testing.assert_close(seen.embeddings(visual), tokens.reshape(-1, tokens.shape[-1]))


def test_a_plain_language_model_has_embeddings_too():
    torch.manual_seed(0)
    model = families.llama()
    ids = torch.tensor([[5, 6, 7, 8]])
    mask = torch.tensor([[False, True, True, False]])
    seen = look(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, Needs(None, mask, mask))
    torch.testing.assert_close(seen.embeddings(mask), model.get_input_embeddings()(ids[mask]))
    assert seen.states(mask).shape == (2, 32) and seen.output.logits.shape[0] == 0
    with pytest.raises(AssertionError, match="not among the needs"):
        seen.states(~mask)


def test_routers_are_recorded_in_a_shared_call(fresh_nano):
    bundle = fresh_nano.operated("gamma_mod", {"layers": [1], "skip": 0.5})
    batch = batch_of(bundle, "a red cat", "a dog on a tree")
    bundle.model.train()
    alone = Routed()(bundle.model, batch)
    seen = calls(bundle.model)
    together = Sum([(1.0, Routed()), (0.5, Entropy())])(bundle.model, batch)
    assert len(seen) == 1
    torch.testing.assert_close(together.sums["routing"], alone.sums["routing"])
    assert together.weights["routing"] == alone.weights["routing"]


def test_accumulation_of_a_shared_call_equals_the_large_batch(fresh_nano, tmp_path):
    records = [
        fresh_nano.encoder.encode(chat("what is it?", "a red cat " * (1 + i % 3), seed=i, images=i % 2))
        for i in range(8)
    ]
    state, found = copy.deepcopy(fresh_nano.model.state_dict()), {}
    for accumulation in (1, 4):
        fresh_nano.model.load_state_dict(state)
        config = StageConfig(
            name="s", trains=("connector", "language"), learning_rate=1e-3, max_steps=4, warmup=0,
            batch_size=8 // accumulation, accumulation=accumulation, length_batches=False, schedule="constant",
        )  # fmt: skip
        objective = Sum([(1.0, NextToken()), (0.3, Entropy()), (0.01, Visual())])
        folder = tmp_path / str(accumulation)
        found[accumulation] = train_stage(
            fresh_nano.model, records, fresh_nano.collator(), objective, config, folder, device="cpu"
        )
    for term, value in found[1].terms.items():
        assert found[4].terms[term] == pytest.approx(value, rel=1e-4), term


def test_weights_of_a_sum_are_checked():
    with pytest.raises(ValueError, match="weight is -1"):
        Sum([(-1.0, NextToken())])
    with pytest.raises(ValueError, match="every objective has weight 0"):
        Sum([(0.0, NextToken())])
    with pytest.raises(ValueError, match="at least one"):
        Sum([])


def test_the_step_is_told_before_its_batches(fresh_nano, tmp_path):
    told = []

    class Noting(NextToken):
        def at(self, step, steps):
            told.append((step, steps))

        def counts(self, batch):
            told.append("counts")
            return super().counts(batch)

    records = [fresh_nano.encoder.encode(chat("what is it?", "a cat", seed=i)) for i in range(4)]
    config = StageConfig(name="s", max_steps=2, batch_size=2, accumulation=2, checkpoint_minutes=None)
    train_stage(
        fresh_nano.model, records, fresh_nano.collator(), Sum([(1.0, Noting())]), config, tmp_path / "s"
    )
    assert told == [(1, 2), "counts", "counts", (2, 2), "counts", "counts"]

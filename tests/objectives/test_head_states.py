"""The head's loss in chunks through real models: the same loss, the same gradients, and refusals that are quiet."""

import sys
import types

import pytest
import torch
import transformers as T
from torch import nn

import families
from vitrail.objectives import head_states, liger, linear_cross_entropy
from vitrail.objectives.head_states import described, states_at
from vitrail.objectives.linear_cross_entropy import Scaling
from vitrail.objectives.next_token import NextToken

GEMMA = {**families.TEXT, "head_dim": 8, "query_pre_attn_scalar": 8}
MODELS = {
    "llama": lambda: families.llama(),
    "tied": lambda: T.LlamaForCausalLM._from_config(
        T.LlamaConfig(**families.TEXT, **families.INIT, tie_word_embeddings=True)
    ),
    "soft-capped": lambda: T.Gemma2ForCausalLM._from_config(
        T.Gemma2Config(**GEMMA, **families.INIT, final_logit_softcapping=3.0)
    ),
    "divided": lambda: T.GraniteForCausalLM._from_config(
        T.GraniteConfig(**families.TEXT, **families.INIT, logits_scaling=4.0)
    ),
    "multiplied": lambda: T.CohereForCausalLM._from_config(
        T.CohereConfig(**families.TEXT, **families.INIT, logit_scale=0.25)
    ),
    **{
        name: (lambda name=name: families.build(name))
        for name in ("llava", "qwen2_5_vl", "gemma3", "smolvlm")
    },
}


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of seven tokens, whatever the vocabulary."""
    for module in (head_states, linear_cross_entropy):
        monkeypatch.setattr(module, "chunk_of", lambda vocab, device: 7)


def batch():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 140, (3, 30), generator=generator)
    labels = torch.where(torch.rand(ids.shape, generator=generator) < 0.5, ids, -100)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def outcome(model, made, objective):
    model.zero_grad(set_to_none=True)
    loss = objective(model, made)
    loss.total().backward()
    return loss, {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"z_loss": 0.01, "label_smoothing": 0.1}])
@pytest.mark.parametrize("name", MODELS)
def test_chunks_change_neither_loss_nor_gradients(name, settings, monkeypatch):
    torch.manual_seed(0)
    model, made = MODELS[name]().train(), batch()
    objective = NextToken(NextToken.Config(**settings))
    whole, expected = outcome(model, made, objective)
    for module in (head_states, linear_cross_entropy):
        monkeypatch.setattr(module, "chunk_of", lambda vocab, device: 7)
    used = []
    real = head_states.HeadStates.__init__
    monkeypatch.setattr(
        head_states.HeadStates, "__init__", lambda self, *a, **k: (used.append(1), real(self, *a, **k))[1]
    )
    for weights in (None, torch.rand(3, 30)):
        given = made if weights is None else {**made, "loss_weights": weights}
        if weights is not None:
            monkeypatch.setattr(head_states, "chunk_of", lambda vocab, device: 10**9)
            whole, expected = outcome(model, given, objective)
            monkeypatch.setattr(head_states, "chunk_of", lambda vocab, device: 7)
        used.clear()
        loss, gradients = outcome(model, given, objective)
        assert used and loss.counts == whole.counts
        for term, value in loss.sums.items():
            assert torch.allclose(value, whole.sums[term], rtol=1e-5), term
        assert gradients.keys() == expected.keys()
        for key, gradient in gradients.items():
            assert (gradient - expected[key]).abs().max() <= 2e-5 * expected[key].abs().max() + 1e-7, key


@pytest.mark.parametrize(
    "name,scaling",
    [
        ("soft-capped", Scaling(cap=3.0)),
        ("divided", Scaling(0.25)),
        ("multiplied", Scaling(0.25)),
        ("llama", Scaling()),
    ],
)
def test_a_configuration_says_what_is_done_to_logits(name, scaling):
    assert described(MODELS[name]().config) == scaling


class Twisted(T.LlamaForCausalLM):
    """Does something to its logits that no configuration tells."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits**3
        return output


class Headless(T.LlamaForCausalLM):
    """Reads its head's weight without calling it."""

    def forward(self, *args, logits_to_keep=0, **kwargs):
        states = self.model(*args, **kwargs).last_hidden_state[logits_to_keep]
        return types.SimpleNamespace(logits=nn.functional.linear(states, self.lm_head.weight))


@pytest.mark.parametrize("kind", [Twisted, Headless])
def test_logits_of_an_unknown_kind_are_made_whole_as_if_nothing_had_been_tried(
    kind, small_chunks, monkeypatch
):
    torch.manual_seed(0)
    config = T.LlamaConfig(**families.TEXT, **families.INIT, attention_dropout=0.3)
    model = kind._from_config(config).train()
    made, found = batch(), []
    keep = made["labels"] != -100
    for tried in (True, False, True):
        torch.manual_seed(5)
        with monkeypatch.context() as patch:
            if not tried:
                patch.setattr(head_states, "chunk_of", lambda vocab, device: 10**9)
            output, head = states_at(
                model,
                keep,
                input_ids=made["input_ids"],
                attention_mask=made["attention_mask"],
                use_cache=False,
            )
        assert head is None
        found.append((output.logits.detach(), torch.rand(1)))
    for logits, draw in found[1:]:
        assert torch.equal(logits, found[0][0]) and torch.equal(draw, found[0][1])


def test_few_labels_adapters_hooks_and_wrappers_take_logits_whole(small_chunks):
    model, made = families.llama(), batch()
    few = torch.zeros(3, 30, dtype=torch.bool)
    few[0, :5] = True
    inputs = {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"]}
    assert states_at(model, few, **inputs)[1] is None
    many = made["labels"] != -100
    assert states_at(model, many, **inputs)[1] is not None
    handle = model.lm_head.register_forward_hook(lambda *_: None)
    assert states_at(model, many, **inputs)[1] is None
    handle.remove()

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = model

        def forward(self, **kwargs):
            return self.module(**kwargs)

    assert states_at(Wrapper(), many, **inputs)[1] is None
    assert "forward" not in vars(model.lm_head)


def test_logits_can_still_be_read_whole(small_chunks):
    from vitrail.objectives.forward import Needs, look

    model, made = families.llama(), batch()
    keep = made["labels"] != -100
    chunked, whole = (look(model, made, Needs(logits=keep, in_chunks=flag)) for flag in (True, False))
    assert chunked.head(keep) is not None and whole.head(keep) is None
    assert torch.allclose(chunked.logits(keep), whole.logits(keep), atol=1e-5)
    assert not Needs(logits=keep, in_chunks=True).union(Needs(logits=keep)).in_chunks
    assert Needs(logits=keep, in_chunks=True).union(Needs(states=keep)).in_chunks


class PretendedLiger(nn.Module):
    """The interface of Liger's loss, on a CPU."""

    wrong = 1.0
    calls = 0

    def __init__(self, ignore_index, label_smoothing, reduction, softcap):
        super().__init__()
        assert (ignore_index, reduction) == (-100, "sum")
        self.smoothing, self.cap = label_smoothing, softcap

    def forward(self, weight, states, labels, bias):
        type(self).calls += 1
        logits = Scaling(cap=self.cap)(nn.functional.linear(states, weight, bias))
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=self.smoothing)
        return self.wrong * loss


@pytest.mark.parametrize("wrong", [1.0, 1.01])
def test_liger_serves_only_where_it_is_right(wrong, small_chunks, monkeypatch):
    name = "liger_kernel.transformers.fused_linear_cross_entropy"
    there = types.ModuleType(name)
    there.LigerFusedLinearCrossEntropyLoss = PretendedLiger
    for part in ("liger_kernel", "liger_kernel.transformers", name):
        monkeypatch.setitem(sys.modules, part, there)
    monkeypatch.setattr(PretendedLiger, "wrong", wrong)
    monkeypatch.setattr(liger.importlib.util, "find_spec", lambda found: there)
    monkeypatch.setattr(liger, "DEVICES", ("cpu",))
    liger._is_right.cache_clear()
    model, made = families.llama(), batch()
    with monkeypatch.context() as patch:
        patch.setattr(head_states, "chunk_of", lambda vocab, device: 10**9)
        expected = NextToken()(model, made).sums["next_token"]
    PretendedLiger.calls = 0
    loss = NextToken()(model, made).sums["next_token"]
    assert torch.allclose(loss, expected, rtol=1e-5)
    assert PretendedLiger.calls == (2 if wrong == 1.0 else 1)  # the trial, and the loss
    weighted = {**made, "loss_weights": torch.rand(3, 30)}
    NextToken()(model, weighted)
    assert PretendedLiger.calls == (2 if wrong == 1.0 else 1)
    liger._is_right.cache_clear()


def test_without_liger_nothing_is_asked_of_it():
    assert not liger.serves(torch.zeros(1, 1), Scaling())

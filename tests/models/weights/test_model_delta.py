"""Differences of models in memory: an algebra, tied weights once, and the same as on disk."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as T
from torch import nn

import families
from checkpoints import tensors
from vitrail.models.weights.checkpoint import Checkpoint
from vitrail.models.weights.difference import Difference
from vitrail.models.weights.model_delta import ModelDelta, combine, resize_and_align
from vitrail.models.weights.streaming import add


def llama(seed, tied=False, dtype=torch.bfloat16, rows=families.VOCABULARY):
    torch.manual_seed(seed)
    settings = {**families.TEXT, "vocab_size": rows, "tie_word_embeddings": tied}
    return T.LlamaForCausalLM._from_config(T.LlamaConfig(**settings, **families.INIT)).to(dtype).eval()


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_algebra_of_differences():
    a, b, c = (llama(seed) for seed in (0, 1, 2))
    between = lambda plus, minus: ModelDelta.between(plus, minus, dtype=torch.float64)  # noqa: E731
    assert not any(value.any() for value in between(a, a).tensors.values())
    forth, back = between(b, a), -between(a, b)
    assert all(torch.equal(forth.tensors[name], back.tensors[name]) for name in forth.tensors)
    chained, direct = between(c, b) + between(b, a), between(c, a)
    for name in direct.tensors:
        torch.testing.assert_close(chained.tensors[name], direct.tensors[name], atol=1e-12, rtol=0)
    half = combine([forth, between(c, a)], [0.5, 0.0])
    assert half.cosine(forth) == pytest.approx(1.0) and (forth - forth).cosine(forth) == 0.0
    total = sum(norm**2 for norm in forth.norms().values())
    assert total == pytest.approx(sum(float(v.square().sum()) for v in forth.tensors.values()))


@pytest.mark.parametrize("tied", [False, True])
def test_applied_it_gives_the_other_model_and_leaves_its_source(tied):
    a, b = llama(0, tied), llama(1, tied)
    a.model.layers[0].requires_grad_(False)
    before, flags = copy.deepcopy(a), [p.requires_grad for p in a.parameters()]
    delta = ModelDelta.between(b, a, dtype=torch.float64)
    assert equal(delta.apply(a, scale=0.0), a)
    made = delta.apply(a)
    assert equal(a, before) and equal(made, b)
    assert [p.requires_grad for p in made.parameters()] == flags
    assert delta.apply(a, in_place=True) is a and equal(a, b)
    same = a.lm_head.weight.data_ptr() == a.get_input_embeddings().weight.data_ptr()
    assert same == tied and ("lm_head.weight" in delta.tensors) != tied


def test_memory_and_disk_give_the_same_file(tmp_path):
    a, b, trained = llama(0, True), llama(1, True), llama(2, True)
    for name, one in {"a": a, "b": b, "trained": trained}.items():
        one.save_pretrained(tmp_path / name)
    base, tuned, target = (Checkpoint.open(tmp_path / name) for name in ("a", "b", "trained"))
    assert base.tied
    add(target, [Difference(tuned, base, scale=0.7)], tmp_path / "disk")
    ModelDelta.between(b, a, dtype=torch.float64).apply(trained, 0.7).save_pretrained(tmp_path / "memory")
    disk, memory = tensors(tmp_path / "disk"), tensors(tmp_path / "memory")
    assert disk.keys() == memory.keys()
    assert all(torch.equal(value, memory[name]) for name, value in disk.items())


def test_parts_alone_and_further_rows():
    a, b = llama(0), llama(1, rows=families.VOCABULARY + 4)
    part = ModelDelta.between(b, a, only=["model.layers"], exclude=["*.mlp.*"])
    made = part.apply(a)
    for name, value in made.named_parameters():
        chosen = name.startswith("model.layers") and ".mlp." not in name
        assert torch.equal(value, dict((b if chosen else a).named_parameters())[name]), name
    grown = ModelDelta.between(b, a, dtype=torch.float64).apply(a)
    assert equal(grown, b) and grown.config.vocab_size == families.VOCABULARY + 4
    resize_and_align(a, range(families.VOCABULARY + 2))
    assert a.get_input_embeddings().weight.shape[0] == families.VOCABULARY + 2
    assert not a.get_input_embeddings().weight[-2:].any() and not a.lm_head.weight[-2:].any()
    with pytest.raises(ValueError, match="only rows of the vocabulary"):
        ModelDelta.between(llama(0), b)


def test_restoring_is_exact_where_new_data_is_orthogonal_to_the_instructions():
    """A linear model: what instructions taught acts on other features than what new data teaches."""
    torch.manual_seed(0)
    w0, task = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    seen, new = torch.eye(4, dtype=torch.float64)[:2], torch.eye(4, dtype=torch.float64)[2:]

    def linear(weight):
        made = nn.Linear(4, 6, bias=False, dtype=torch.float64)
        made.weight.data = weight.clone()
        return made

    base, instruct, trained = linear(w0), linear(w0 + task @ seen), linear(w0)
    goal = torch.randn(32, 6, dtype=torch.float64)
    inputs = torch.randn(32, 2, dtype=torch.float64) @ new
    optimiser = torch.optim.SGD(trained.parameters(), lr=0.05)
    for _ in range(50):
        optimiser.zero_grad()
        (trained(inputs) - goal).square().mean().backward()
        optimiser.step()
    restored = ModelDelta.between(instruct, base, dtype=torch.float64).apply(trained)
    asked = torch.randn(16, 2, dtype=torch.float64) @ seen
    torch.testing.assert_close(restored(asked), instruct(asked))
    torch.testing.assert_close(restored(inputs), trained(inputs))


def test_what_cannot_be_taken_is_refused():
    from peft import LoraConfig, get_peft_model

    a, b = llama(0), llama(1)
    wrapped = get_peft_model(llama(1), LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="adapters that are not merged"):
        ModelDelta.between(wrapped, a)
    with pytest.raises(ValueError, match=r"names in plus begin with 'model\.'"):
        ModelDelta.between(nn.ModuleDict({"model": a.model.layers}), a.model.layers)
    with pytest.raises(ValueError, match="on the meta device"):
        ModelDelta.between(b, copy.deepcopy(a).to("meta"))
    delta = ModelDelta.between(b, a)
    with pytest.raises(ValueError, match="scale is inf"):
        delta.apply(a, float("inf"))
    with pytest.raises(ValueError, match="are in one of the difference and the model alone"):
        delta.apply(nn.Linear(2, 2))
    broken = ModelDelta({name: value / 0 for name, value in delta.tensors.items()})
    with pytest.raises(ValueError, match="not finite"):
        broken.apply(a)
    with pytest.raises(ValueError, match="give one for each"):
        combine([delta], [1.0, 2.0])
    with pytest.raises(ValueError, match="float32 or float64"):
        ModelDelta.between(b, a, dtype=torch.bfloat16)

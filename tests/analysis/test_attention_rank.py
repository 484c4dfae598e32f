"""ARank: equal to a plain reference over eager attention, exact on planted attention, and it chooses layers."""

import pytest
import torch

import families
from conftest import chat
from vitrail.analysis.attention_rank import _Measuring, attention_rank, choose_layers, select_layers
from vitrail.models.testbeds import nano


def text_batch(length=9, rows=2, pad=0):
    ids = torch.randint(5, 100, (rows, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if pad:
        mask[0, -pad:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def reference(family, batch):
    """From the probabilities that eager attention returns."""
    model = families.build(family)
    model.set_attn_implementation({"text_config": "eager"})
    with torch.no_grad():
        attentions = model(**batch, output_attentions=True, use_cache=False).attentions
    ranks = []
    for layer in attentions:
        found = []
        for row, mask in zip(layer, batch["attention_mask"].bool(), strict=True):
            found += [float(torch.linalg.matrix_rank(head[mask][:, mask].tril(-1).float())) for head in row]
        ranks.append(sum(found) / len(found))
    return torch.tensor(ranks)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm", "gemma3"])
@pytest.mark.parametrize("pad", [0, 3])
def test_it_equals_the_reference_over_eager_attention(family, pad):
    batch = text_batch(pad=pad, rows=2 if not pad else 1)
    if family == "gemma3":
        batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
    model = families.build(family)
    before = model.config.get_text_config()._attn_implementation
    found = attention_rank(model, [batch])
    assert found.tolist() == pytest.approx(reference(family, batch).tolist())
    assert model.config.get_text_config()._attn_implementation == before
    some = attention_rank(model, [batch], layers=[2, 0])
    assert some.tolist() == [found[2], found[0]]


def planted(scores, mask=None):
    """The rank of attention whose scores are these, through the measuring itself."""
    length = scores.shape[-1]
    query = scores[None, None].double()
    key = torch.eye(length, dtype=torch.double)[None, None]
    causal = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    measuring = _Measuring(frozenset([0]), torch.ones(1, length, dtype=torch.bool))
    module = type("Attention", (), {"layer_idx": 0})()
    measuring.measure(module, query, key, causal, {"scaling": 1.0})
    return measuring.found[0][0]


def test_attention_to_the_first_token_only_has_rank_one():
    scores = torch.full((8, 8), -100.0)
    scores[:, 0] = 100.0
    assert planted(scores) == 1


def test_random_attention_has_full_rank_below_the_diagonal():
    assert planted(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))) == 7


def test_the_lowest_are_chosen():
    ranks = torch.tensor([3.0, 9.0, 1.0, 5.0, 1.0, 8.0])
    assert select_layers(ranks, 0.5) == [0, 2, 4]
    assert select_layers(ranks, 0.5, keep_first=1) == [2, 3, 4]
    assert select_layers(ranks, 1 / 6) == [2]
    assert select_layers(torch.zeros(32), keep_first=3, keep_last=1) == list(range(3, 31))
    with pytest.raises(ValueError, match="asks for 6 of 6 layers, but keep_first and keep_last leave 5"):
        select_layers(ranks, 1.0, keep_last=1)
    with pytest.raises(ValueError, match="ratio is 0"):
        select_layers(ranks, 0)
    with pytest.raises(ValueError, match="leave none of 6"):
        select_layers(ranks, keep_first=4, keep_last=2)


def test_layers_are_chosen_by_records():
    bundle = nano.build(seed=0, language_config={"num_hidden_layers": 4})
    records = [chat("What is it?", "A cat.", seed=1), chat("And this, please?", "A dog that runs.", seed=2)]
    bundle.model.train()
    chosen = choose_layers(bundle, records, 0.5)
    assert len(chosen) == 2 and chosen == choose_layers(bundle, records, 0.5, batch_size=1)
    assert bundle.model.training


def test_bad_input_is_refused():
    model = families.build("llava")
    with pytest.raises(ValueError, match="layers names 3, but LlamaModel has layers 0 to 2"):
        attention_rank(model, [text_batch()], layers=[3])
    with pytest.raises(ValueError, match=r"6 to 9 tokens.*normalise=True"):
        attention_rank(model, [text_batch(), text_batch(6)])
    assert attention_rank(model, [text_batch(), text_batch(6)], normalise=True).max() <= 1
    with pytest.raises(ValueError, match="a sample of 1 token"):
        attention_rank(model, [text_batch(1)])
    with pytest.raises(ValueError, match="got no batch"):
        attention_rank(model, [])
    with pytest.raises(ValueError, match="got no record"):
        choose_layers(None, [])

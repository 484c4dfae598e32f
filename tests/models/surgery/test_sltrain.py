"""The surgery: which layers, what it refuses, what it costs, and that the model comes back from a folder."""

import math

import pytest
import torch
import transformers as T

import families
from conftest import chat
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.surgery import operating
from vitrail.models.surgery.sltrain import account, merge_sltrain
from vitrail.models.surgery.sparse_low_rank import SparseLowRankLinear
from vitrail.models.testbeds import nano
from vitrail.training.selection import select_parameters

SETTINGS = {"rank": 4, "density": 0.1}


def replaced(model):
    return {path: one for path, one in model.named_modules() if isinstance(one, SparseLowRankLinear)}


@torch.no_grad()
def text_logits(model):
    if hasattr(getattr(model, "model", None), "rope_deltas"):
        model.model.rope_deltas = None
    return model(
        input_ids=torch.arange(5, 25)[None], attention_mask=torch.ones(1, 20, dtype=torch.long)
    ).logits


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_the_language_layers_of_families_are_replaced_and_come_back(family, tmp_path):
    folder = families.save_family(family, tmp_path / "base")
    bundle = load(folder)
    with pytest.raises(ValueError, match=r"loaded from .* discard_weights: true"):
        operating.operate(bundle.model, "sltrain", SETTINGS)
    operating.operate(bundle.model, "sltrain", {**SETTINGS, "discard_weights": True}, seed=5)
    layers = replaced(bundle.model)
    assert len(layers) == 7 * 3 and not any("vis" in path for path in layers)
    bundle.save(tmp_path / "changed")
    again = load(tmp_path / "changed")
    assert torch.equal(text_logits(again.model), text_logits(bundle.model))
    for path, layer in replaced(again.model).items():
        assert torch.equal(layer.places, layers[path].places)
    assert merge_sltrain(again.model) == 21 and not replaced(again.model)
    torch.testing.assert_close(text_logits(again.model), text_logits(bundle.model), atol=1e-4, rtol=1e-4)
    again.save(tmp_path / "merged")
    ordinary = load(tmp_path / "merged").model
    assert torch.equal(text_logits(ordinary), text_logits(again.model))


def test_it_answers_after_it_was_loaded(tmp_path):
    from vitrail.inference.generation import GenerationSettings, generate

    bundle = nano.build(seed=0)
    operating.operate(bundle.model, "sltrain", SETTINGS)
    bundle.save(tmp_path / "model")
    settings = GenerationSettings(max_new_tokens=6)
    first, second = (
        generate(one, [chat("What is it?")], settings) for one in (bundle, load(tmp_path / "model"))
    )
    assert first == second


def test_same_seed_same_places_and_layers_of_one_shape_differ():
    made = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        model = nano.build(seed=0).model
        operating.operate(model, "sltrain", SETTINGS, seed=seed)
        made[name] = {path: layer.places for path, layer in replaced(model).items()}
    assert all(torch.equal(made["b"][path], places) for path, places in made["a"].items())
    assert not any(torch.equal(made["c"][path], places) for path, places in made["a"].items())
    gates = [places for path, places in made["a"].items() if path.endswith(("gate_proj", "up_proj"))]
    assert len({tuple(places.tolist()) for places in gates}) == len(gates) == 4


def test_parts_train_by_name():
    model = nano.build(seed=0).model
    operating.operate(model, "sltrain", SETTINGS)
    chosen = select_parameters(model, ("sltrain.values",))
    assert chosen.parameters and all(name.endswith(".values") for name in chosen.parameters)
    factors = select_parameters(model, ("sltrain.factors",)).parameters
    assert factors and all(name.endswith((".A", ".B")) for name in factors)
    assert len(select_parameters(model, ("sltrain",)).parameters) == len(chosen.parameters) + len(factors)
    assert anatomy.part(model, "language.layers[0]")


def test_the_published_parameter_count():
    config = T.LlamaConfig(
        vocab_size=32000, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8
    )
    with torch.device("meta"):
        model = T.LlamaForCausalLM(config)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(58.07, abs=0.01)
    operating.operate(model, "sltrain", {"rank": 128, "density": 0.03, "alpha": 32})
    formula = sum(
        layer.rank * (layer.in_features + layer.out_features)
        + int(0.03 * layer.in_features * layer.out_features)
        for layer in replaced(model).values()
    )
    bill = account(model)
    assert bill.layers == 56 and bill.parameters == formula
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(43.5, abs=0.5)


def test_the_control_has_as_many_parameters():
    counts = []
    for name, settings in (
        ("sltrain", {"rank": 4, "density": 0.1}),
        ("low_rank", {"rank": 4, "density_as_rank": 0.1}),
    ):
        model = nano.build(seed=0).model
        operating.operate(model, name, settings)
        counts.append(account(model).parameters)
    assert counts[0] != counts[1] and abs(counts[1] / counts[0] - 1) < 0.05


def test_adam_keeps_two_numbers_a_trained_one():
    model = nano.build(seed=0).model
    operating.operate(model, "sltrain", SETTINGS)
    own = [p for layer in replaced(model).values() for p in layer.parameters()]
    optimizer = torch.optim.AdamW(own)
    model(input_ids=torch.arange(5, 25)[None]).logits.sum().backward()
    optimizer.step()
    kept = sum(v.numel() * v.element_size() for s in optimizer.state.values() for v in s.values() if v.ndim)
    bill = account(model)
    assert kept == bill.state == 2 * 4 * bill.parameters < 2 * 4 * bill.dense


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_model_from_scratch_learns(checkpointing):
    config = T.LlamaConfig(**{**families.TEXT, "num_hidden_layers": 2})
    torch.manual_seed(0)
    model = T.LlamaForCausalLM(config)
    operating.operate(model, "sltrain", {"rank": 4, "density": 0.1, "alpha": 8})
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    ids = torch.randint(5, 200, (4, 16), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(200), abs=0.3) and losses[-1] < losses[0] / 2


def test_a_recipe_pretrains_from_random_weights(tmp_path):
    from vitrail.data.readers import write_jsonl
    from vitrail.recipes import loading
    from vitrail.recipes.run import run

    write_jsonl(
        [chat("What is it?", "A cat.", seed=i) for i in range(4)], tmp_path / "chats.jsonl", images="inline"
    )
    recipe = loading.load(
        {
            "name": "mine",
            "model": {"testbed": "nano", "surgeries": [{"name": "sltrain", **SETTINGS}]},
            "data": {"train": {"kind": "file", "path": str(tmp_path / "chats.jsonl")}},
            "stages": [
                {
                    "name": "tune",
                    "trains": ["all"],
                    "max_steps": 2,
                    "batch_size": 2,
                }
            ],
        }
    )
    made = run(recipe, tmp_path / "run").load().model
    fresh = nano.build(seed=recipe.seed).model
    operating.operate(fresh, "sltrain", SETTINGS, seed=recipe.seed)
    for (path, layer), (_, before) in zip(replaced(made).items(), replaced(fresh).items(), strict=True):
        assert torch.equal(layer.places, before.places), path
        assert not torch.equal(layer.values, before.values) and not torch.equal(layer.B, before.B), path


def test_what_does_not_fit_is_refused():
    model = nano.build(seed=0).model
    with pytest.raises(ValueError, match=r"no linear layer of language.layers has 'attm' in its name"):
        operating.operate(model, "sltrain", {**SETTINGS, "targets": ["attm"]})
    with pytest.raises(ValueError, match="no part 'languge"):
        operating.operate(model, "sltrain", {**SETTINGS, "where": ["languge.layers"]})
    operating.operate(model, "sltrain", SETTINGS)
    with pytest.raises(ValueError, match="low-rank already"):
        operating.operate(model, "sltrain", SETTINGS)
    gpt2 = T.GPT2LMHeadModel(T.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=50))
    with pytest.raises(ValueError, match="is a Conv1D, not a plain linear layer"):
        operating.operate(gpt2, "sltrain", {**SETTINGS, "where": ["language"]})

    class Quantised(torch.nn.Linear):
        pass

    model = nano.build(seed=0).model
    model.get_decoder().layers[0].mlp.up_proj = Quantised(64, 128, bias=False)
    with pytest.raises(ValueError, match="up_proj is a Quantised"):
        operating.operate(model, "sltrain", SETTINGS)


def test_adapters_on_its_layers_are_refused():
    from peft import LoraConfig, inject_adapter_in_model

    model = nano.build(seed=0).model
    operating.operate(model, "sltrain", SETTINGS)
    with pytest.raises(ValueError, match="SparseLowRankLinear"):
        inject_adapter_in_model(LoraConfig(target_modules=["q_proj"]), model)


def test_a_connector_may_be_replaced_too():
    model = nano.build(seed=0).model
    operating.operate(model, "sltrain", {**SETTINGS, "where": ["connector"], "targets": ["connector"]})
    assert replaced(model) and all("connector" in path for path in replaced(model))

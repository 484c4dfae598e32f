"""The objective of routed models: its parts, and exact accumulation."""

import pytest
import torch

import families
from conftest import chat
from vitrail.models.bundle import Bundle
from vitrail.models.layout import Layout
from vitrail.models.loading import load
from vitrail.models.surgery import operating
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.routing import Routed

CHATS = [chat(f"What is number {i}{' now' * i}?", "A cat that sits." + " Yes." * i, seed=i) for i in range(4)]


def bundle_of(layers=(1,)) -> Bundle:
    bundle = nano.build(seed=0)
    operating.operate(bundle.model, "gamma_mod", {"layers": layers})
    bundle.model.train()
    return bundle


def batch_of(bundle, chats):
    return bundle.collator()([bundle.encoder.encode(one) for one in chats])


def test_its_terms_are_next_token_and_the_routers_cross_entropy():
    bundle = bundle_of((0, 1))
    batch = batch_of(bundle, CHATS[:2])
    from vitrail.models.surgery.routing import recorded

    with recorded(batch["layout"]) as passes:
        plain = NextToken()(bundle.model, batch)
    objective = Routed()
    loss = objective(bundle.model, batch)
    assert loss.sums["next_token"].item() == plain.sums["next_token"].item()
    wanted = 0.0
    for layer in (0, 1):
        logs = passes[-1].logits[layer].log_softmax(-1)
        chosen = torch.where(passes[-1].mask(layer), logs[..., 1], logs[..., 0])
        wanted -= chosen[batch["layout"].present].sum().item()
    assert loss.sums["routing"].item() == pytest.approx(wanted, rel=1e-5)
    assert loss.weight("routing") == 0.01
    assert (
        objective.counts(batch)
        == loss.counts
        == {**plain.counts, "routing": int(batch["attention_mask"].sum())}
    )


def test_accumulation_is_exact():
    bundle, objective = bundle_of(), Routed(Routed.Config(coefficient=0.5))
    found = []
    for size in (4, 1):
        bundle.model.zero_grad()
        parts = [batch_of(bundle, CHATS[i : i + size]) for i in range(0, 4, size)]
        totals = {}
        for part in parts:
            for term, units in objective.counts(part).items():
                totals[term] = totals.get(term, 0) + units
        losses = [objective(bundle.model, part).total(totals, len(parts)) for part in parts]
        total = torch.stack(losses).sum()
        total.backward()
        grads = {name: p.grad.clone() for name, p in bundle.model.named_parameters() if p.grad is not None}
        found.append((total.item(), grads))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert "gamma_mod.router.shared.weight" in found[0][1]
    for name, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], value, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_families_that_take_no_layout_train(family, tmp_path):
    bundle = load(families.save_family(family, tmp_path / "base"))
    positions = "original" if family == "qwen2_5_vl" else "reindex"
    operating.operate(bundle.model, "gamma_mod", {"layers": [1], "positions": positions})
    bundle.model.train()
    batch = batch_of(bundle, CHATS)
    optimizer = torch.optim.AdamW(bundle.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = Routed()(bundle.model, batch).total()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_inside_adapters_of_peft_it_trains_the_same():
    from peft import LoraConfig, get_peft_model

    model = families.build("llava")
    operating.operate(model, "gamma_mod", {"layers": [1]})
    ids = torch.tensor([[1, 10, *[families.IMAGE] * 16, 5, 6, 7]])
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.where(ids == families.IMAGE, -100, ids),
        "pixel_values": torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
    }
    none = torch.full_like(ids, -1)
    zero = torch.zeros_like(ids)
    visual = ids == families.IMAGE
    layout = Layout(zero, visual.long(), none, none, none, none, zero, torch.ones(ids.shape), visual)
    objective = Routed()
    plain = objective(model.train(), {**batch, "layout": layout})
    wrapped = get_peft_model(model, LoraConfig(target_modules=r".*language_model.*q_proj"))
    inside = objective(wrapped.train(), {**batch, "layout": layout})
    for term in ("next_token", "routing"):
        assert inside.sums[term].item() == pytest.approx(plain.sums[term].item(), rel=1e-6)


def test_a_stage_of_a_recipe_trains_the_routers(tmp_path):
    from vitrail.data.readers import write_jsonl
    from vitrail.recipes import loading
    from vitrail.recipes.run import run

    write_jsonl(
        [chat("What is it?", "A cat.", seed=i) for i in range(4)], tmp_path / "chats.jsonl", images="inline"
    )
    recipe = loading.load(
        {
            "name": "mine",
            "model": {"testbed": "nano", "surgeries": [{"name": "gamma_mod", "layers": [1]}]},
            "data": {"train": {"kind": "file", "path": str(tmp_path / "chats.jsonl")}},
            "stages": [
                {
                    "name": "tune",
                    "trains": ["connector", "tower", "gamma_mod.router"],
                    "objective": {"name": "routed", "coefficient": 0.1},
                    "max_steps": 2,
                    "batch_size": 2,
                }
            ],
        }
    )
    made = run(recipe, tmp_path / "run").load()
    fresh = nano.build(seed=recipe.seed)
    operating.operate(fresh.model, "gamma_mod", {"layers": [1]}, seed=recipe.seed)
    name = "gamma_mod.router.shared.weight"
    assert not torch.equal(made.model.get_parameter(name), fresh.model.get_parameter(name))


def test_a_model_without_routed_layers_is_refused():
    bundle = nano.build(seed=0)
    with pytest.raises(ValueError, match="do the surgery gamma_mod"):
        Routed()(bundle.model, batch_of(bundle, CHATS[:1]))

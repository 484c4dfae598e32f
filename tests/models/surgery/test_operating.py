"""What every surgery relies on: done, saved, done again on loading, trained by name."""

import json

import pytest
import torch
from torch import nn

from vitrail import registry
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.surgery import operating
from vitrail.models.surgery.surgery import Surgery
from vitrail.models.testbeds import nano
from vitrail.models.towers.tower import ComponentConfig


class ScaledHead(Surgery):
    """Multiplies what goes into the head by a learned vector; the record holds a figure read off the weights."""

    breaks = frozenset({"beams"})

    class Config(ComponentConfig):
        width: int = 1

    def check(self, model):
        if hasattr(model, "scale"):
            raise ValueError("scaled already")

    def fresh(self, model):
        width = model.config.get_text_config().hidden_size
        norm = float(model.get_input_embeddings().weight.detach().norm())
        self._attach(model, torch.randn(width))
        return {"norm": norm}

    def rebuild(self, model, record):
        self._attach(model, torch.empty(model.config.get_text_config().hidden_size))

    def outline(self, model):
        self.rebuild(model, {})
        return {"norm": 0.0}

    def after_load(self, model, record):
        model.scale.norm = record["norm"]

    def parts(self, model, record):
        return {"scale": model.scale}

    @staticmethod
    def _attach(model, values):
        model.scale = nn.Module()
        model.scale.register_parameter("vector", nn.Parameter(values))
        head = model.get_output_embeddings()
        head.register_forward_pre_hook(lambda _, args: (args[0] * model.scale.vector,))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    reference = registry.Reference("surgery", "scaled_head", "test:ScaledHead")
    monkeypatch.setattr(registry.Reference, "load", _load(registry.Reference.load))
    monkeypatch.setitem(registry._BUILT_IN, ("surgery", "scaled_head"), reference)
    registry._all.cache_clear()
    yield
    registry._all.cache_clear()


def _load(own):
    return lambda self: ScaledHead if self.name == "scaled_head" else own(self)


def logits(bundle):
    with torch.no_grad():
        return bundle.model(input_ids=torch.arange(5, 17)[None]).logits


def test_a_changed_model_comes_back_as_it_was(tmp_path):
    bundle = nano.build(seed=1)
    plain = logits(bundle)
    operating.operate(bundle.model, "scaled_head", seed=3)
    changed = logits(bundle)
    assert not torch.equal(plain, changed)
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again.model) is type(bundle.model)
    assert torch.equal(logits(again), changed)
    kept = json.loads((tmp_path / "model" / "config.json").read_text())["vitrail"]["surgeries"]
    assert [entry["name"] for entry in kept] == ["scaled_head"]
    assert again.model.scale.norm == kept[0]["record"]["norm"] > 0
    again.save(tmp_path / "twice")
    assert torch.equal(logits(load(tmp_path / "twice")), changed)


def test_what_it_draws_depends_on_its_seed_alone():
    drawn = []
    for seed, outer in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(outer)
        bundle = nano.build(seed=1)
        before = torch.random.get_rng_state()
        operating.operate(bundle.model, "scaled_head", seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        drawn.append(bundle.model.scale.vector.detach().clone())
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_its_parts_have_names_to_train():
    from vitrail.training.selection import select_parameters

    bundle = nano.build()
    operating.operate(bundle.model, "scaled_head")
    assert anatomy.part(bundle.model, "scaled_head.scale") is bundle.model.scale
    chosen = select_parameters(bundle.model, ("scaled_head",))
    assert list(chosen.parameters) == ["scale.vector"]


def test_it_is_refused_where_it_does_not_fit():
    bundle = nano.build()
    operating.operate(bundle.model, "scaled_head")
    with pytest.raises(ValueError, match="scaled already"):
        operating.operate(bundle.model, "scaled_head")
    with pytest.raises(ValueError, match="beam search does not work with the surgery 'scaled_head'"):
        operating.refuse_broken(bundle.model.config, "beams", "beam search")
    operating.refuse_broken(bundle.model.config, "cache", "a cache")
    with pytest.raises(ValueError, match="no surgery is called 'scaled_haed'; did you mean 'scaled_head'"):
        operating.operate(bundle.model, "scaled_haed")


def test_a_recipe_names_it(tmp_path):
    from vitrail.recipes import loading
    from vitrail.recipes.run import run
    from vitrail.recipes.shapes import on_meta

    recipe = loading.load(
        "nano",
        {
            "model.surgeries": [{"name": "scaled_head", "width": 2}],
            "stages.tune.trains": ["connector", "scaled_head.scale"],
            "stages.tune.max_steps": 2,
        },
    )
    assert on_meta(recipe.model).scale.vector.is_meta
    made = run(recipe, tmp_path / "run").load()
    entry = made.model.config.vitrail["surgeries"][0]
    assert entry["settings"] == {"width": 2}
    fresh = nano.build(seed=recipe.seed)
    operating.operate(fresh.model, "scaled_head", {"width": 2}, seed=recipe.seed)
    assert not torch.equal(made.model.scale.vector, fresh.model.scale.vector)


def test_settings_are_checked_while_the_recipe_is_read():
    from vitrail.recipes import loading

    with pytest.raises(ValueError, match=r"model\.surgeries\.0\.widht"):
        loading.load("nano", {"model.surgeries": [{"name": "scaled_head", "widht": 2}]})

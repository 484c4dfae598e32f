"""S² in ready models: ours and those of LLaVA's class."""

import copy

import pytest
import torch

import families
from conftest import chat
from vitrail.inference.inputs import model_inputs
from vitrail.models.batches import Pixels
from vitrail.models.bundle import Bundle
from vitrail.models.loading import load
from vitrail.models.surgery.operating import operate, outline
from vitrail.models.testbeds import nano

READY = ("llava", "llava_next", "llava_onevision", "paligemma")


@pytest.fixture(scope="module", params=READY)
def folder(request, tmp_path_factory):
    return families.save_family(request.param, tmp_path_factory.mktemp(request.param))


def batch_of(bundle, seed=0):
    records = [bundle.encoder.encode(chat("what is it?", "a thing", seed=seed + one)) for one in range(2)]
    return bundle.collator()(records)


def native(bundle):
    """The bundle with pictures of the size that the tower was trained on, as if nothing had been done."""
    bundle.vision = Pixels(bundle.processor.image_processor, bundle.family.pixels)
    return bundle


def picture_of(bundle):
    return "native" if hasattr(bundle.model.config, "image_grid_pinpoints") else "largest"


def logits(bundle, batch):
    with torch.no_grad():
        return bundle.model(**model_inputs(bundle.model, batch)).logits


def test_extended_by_zeros_it_answers_as_before(folder):
    bundle = load(folder)
    batch = batch_of(bundle)
    before = logits(bundle, batch)
    operate(bundle.model, "s2", {"scales": (1, 2, 3), "picture": picture_of(bundle)})
    assert torch.allclose(logits(bundle, batch), before, atol=1e-5)


def test_it_comes_back_generates_and_uses_the_scales(folder, tmp_path):
    bundle = load(folder)
    picture = picture_of(bundle)
    operate(bundle.model, "s2", {"start": "fresh", "picture": picture}, seed=3)
    batch = batch_of(bundle)
    changed = logits(bundle, batch)
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert torch.equal(logits(again, batch), changed)
    again.save(tmp_path / "twice")
    assert torch.equal(logits(load(tmp_path / "twice"), batch), changed)
    tokens = again.encoder.encode(chat("what is it?", seed=0), add_generation_prompt=True)
    inputs = again.collator()([tokens])
    assert inputs["pixel_values"].shape[-1] == (32 if picture == "largest" else 16)
    assert inputs["input_ids"].shape[1] == tokens.length  # and no token more
    ran = again.model.generate(**model_inputs(again.model, inputs), max_new_tokens=3, do_sample=False)
    assert ran.shape[1] == tokens.length + 3
    if picture == "native":
        return
    # Detail that the native picture does not have reaches the answer.
    sharp = logits(again, again.collator()([tokens]))
    small = native(load(tmp_path / "model")).collator()([tokens])
    assert small["pixel_values"].shape[-1] == 16
    assert not torch.allclose(sharp, logits(again, small), atol=1e-3)


def test_features_are_the_towers_over_scales():
    """Against the pure function over the untouched model."""
    from vitrail.models.towers.scales import multiscale_forward

    model = families.build("llava")
    plain = copy.deepcopy(model)
    operate(model, "s2", {"scales": (1, 3)})
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.model.vision_tower(x, output_hidden_states=True)
        expected = multiscale_forward(
            lambda tiles: plain.model.vision_tower(tiles, output_hidden_states=True).hidden_states[-2],
            x,
            sizes=[16, 48],
            max_split_size=16,
            num_prefix_tokens=1,
        )
    assert torch.allclose(found.hidden_states[-2], expected, atol=1e-5)
    assert found.last_hidden_state.shape == (2, 17, 64) and found.pooler_output.shape == (2, 64)
    copied = copy.deepcopy(model)
    copied.model.vision_tower.post_layernorm.weight.data.zero_()
    with torch.no_grad():
        assert torch.equal(model.model.vision_tower(x).pooler_output, found.pooler_output)
        assert copied.model.vision_tower(x).pooler_output.std() < found.pooler_output.std()


def test_several_hidden_layers_stay_in_their_order():
    import transformers as T

    config = families.build("llava").config
    config.vision_feature_layer = [-2, -1]
    model = T.LlavaForConditionalGeneration._from_config(config).eval()
    plain = copy.deepcopy(model)
    operate(model, "s2", {})
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 10] + [families.IMAGE] * 16 + [5, 6]])
    with torch.no_grad():
        assert torch.allclose(model(ids, pixel_values=x).logits, plain(ids, pixel_values=x).logits, atol=1e-5)


def test_chunks_and_gradients():
    found = []
    for chunked in (False, True):
        model = families.build("llava")
        operate(model, "s2", {"scales": (1, 2, 3), "chunked": chunked, "start": "fresh"}, seed=1)
        x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
        ids = torch.tensor([[1, 10] + [families.IMAGE] * 16 + [5, 6]] * 2)
        output = model(ids, pixel_values=x, labels=ids)
        output.loss.backward()
        found.append(output.logits.detach())
        assert model.model.vision_tower.embeddings.patch_embedding.weight.grad.abs().sum() > 0
        assert model.model.multi_modal_projector.linear_1.weight.grad[:, 32:].abs().sum() > 0
    assert torch.allclose(*found, atol=1e-5)


def test_our_own_model_round_trips(tmp_path):
    bundle = nano.build(seed=1)
    weights = {name: value.clone() for name, value in bundle.model.tower.state_dict().items()}
    operate(bundle.model, "s2", {}, seed=2)
    for name, value in bundle.model.tower.base.state_dict().items():
        assert torch.equal(value, weights[name])
    batch = batch_of(Bundle.of(bundle.model, bundle.processor))
    assert batch["pixel_values"].shape[-1] == 64
    changed = logits(bundle, batch)
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert torch.equal(logits(again, batch), changed)
    # The tower delivers what it reads, so that stored features are those of the larger picture.
    assert again.model.tower.image_processor().size["height"] == 64


def test_our_own_model_is_extended_where_its_connector_begins_with_a_linear_layer():
    linear = {"name": "mlp", "pool": 2, "norm": False}
    bundle = nano.build(seed=1, connector=linear)
    batch = batch_of(bundle)
    before = logits(bundle, batch)
    operate(bundle.model, "s2", {"start": "extended"})
    assert torch.allclose(logits(bundle, batch), before, atol=1e-5)
    with pytest.raises(ValueError, match="does not begin with a linear layer"):
        operate(nano.build().model, "s2", {"start": "extended"})


def test_plans_have_its_shapes():
    import transformers as T

    with torch.device("meta"):
        model = T.LlavaForConditionalGeneration(families.build("llava").config)
    outline(model, "s2", {"scales": (1, 2, 3)})
    assert model.model.multi_modal_projector.linear_1.weight.shape == (32, 96)
    assert model.model.multi_modal_projector.linear_1.weight.is_meta


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qwen2_5_vl", "at their own resolution; it has no square native size"),
        ("qwen3_vl", "no square native size"),
        ("smolvlm", "takes a mask of patches"),
        ("idefics3", "takes a mask of patches"),
        ("internvl", "does not begin with a linear layer"),
        ("gemma3", "does not begin with a linear layer"),
    ],
)
def test_families_of_other_classes_are_refused_with_the_reason(name, message):
    with pytest.raises(ValueError, match=message):
        operate(families.build(name), "s2", {})


def test_a_plan_has_as_many_tokens_and_the_tiles_of_every_scale(tmp_path):
    bundle = load(families.save_family("llava", tmp_path / "plain"))
    before = bundle.encoder.planner(40, 30)
    operate(bundle.model, "s2", {"scales": (1, 2, 3)})
    bundle.save(tmp_path / "model")
    plan = load(tmp_path / "model").encoder.planner(40, 30)
    assert plan.num_tokens == before.num_tokens and plan.spans[0].coords.tolist() == before.coords.tolist()
    assert len(plan.tiles) == 14 and {tile.size for tile in plan.tiles} == {(16, 16)}
    areas = [sum((t.box[2] - t.box[0]) * (t.box[3] - t.box[1]) for t in one.tiles) for one in (before, plan)]
    assert areas[1] == pytest.approx(3 * areas[0])  # each scale covers once what the picture's tile did


def test_a_recipe_trains_it(tmp_path):
    from vitrail.recipes import loading
    from vitrail.recipes.run import run

    recipe = loading.load("nano", {"model.surgeries": ["s2"], "stages.tune.max_steps": 2})
    made = run(recipe, tmp_path / "run").load()
    assert made.model.tower.config.scales == (1, 2)
    assert made.model.connector.up.in_features == 64


def test_bad_settings_are_refused():
    model = families.build("llava")
    with pytest.raises(ValueError, match="scales begins with 2"):
        operate(model, "s2", {"scales": (2, 1)})
    with pytest.raises(ValueError, match="cannot be divided"):
        operate(model, "s2", {"scales": (1, 1.1)})
    with pytest.raises(ValueError, match="would cut larger ones otherwise; use picture: native"):
        operate(families.build("llava_next"), "s2", {})
    operate(model, "s2", {})
    with pytest.raises(ValueError, match="several scales already"):
        operate(model, "s2", {})
    with pytest.raises(ValueError, match="has no vision tower"):
        operate(families.llama(), "s2", {})

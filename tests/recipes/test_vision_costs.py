"""The counted cost of towers against what torch counts on real models of each family."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import families
from conftest import picture
from vitrail.data.records import Chat
from vitrail.inference.inputs import model_inputs
from vitrail.models.loading import load
from vitrail.recipes.costs import LiveBytes
from vitrail.recipes.vision_costs import VisionSizes, pixel_bytes, vision_cost

SIZES = ((40, 30), (60, 60))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    found = {}

    def get(name):
        if name not in found:
            found[name] = load(families.save_family(name, tmp_path_factory.mktemp("towers") / name))
        return found[name]

    return get


def features(bundle, size):
    """The arguments of ``get_image_features`` for one picture of ``size``."""
    content = [picture(1, size), {"type": "text", "text": "what?"}]
    record = bundle.encoder.encode(Chat(messages=[{"role": "user", "content": content}]))
    batch = model_inputs(bundle.model, bundle.collator()([record]))
    named = ("pixel_values", "image_grid_thw", "image_sizes", "pixel_attention_mask", "batch_num_images")
    return {name: batch[name] for name in named if name in batch}


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_operations(loaded, name):
    bundle = loaded(name)
    bundle.model.set_attn_implementation("eager")  # its products are counted one by one
    sizes = VisionSizes.of(bundle.model)
    for size in SIZES:
        plan, inputs = bundle.encoder.planner(*size), features(bundle, size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            bundle.model.get_image_features(**inputs)
        expected = sizes.tower_flops(plan) + sizes.connector_flops(plan)
        assert expected == pytest.approx(counter.get_total_flops(), rel=0.25), size
    bundle.model.set_attn_implementation("sdpa")


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_what_a_training_tower_keeps(loaded, name):
    bundle = loaded(name)
    sizes = VisionSizes.of(bundle.model)
    plan, inputs = bundle.encoder.planner(60, 60), features(bundle, (60, 60))
    known = [*bundle.model.parameters(), *bundle.model.buffers(), *inputs.values()]
    with LiveBytes([one for one in known if isinstance(one, torch.Tensor)]) as live:
        output = bundle.model.get_image_features(**inputs)
        kept = live.alive
    del output
    cost, passing = vision_cost(sizes, [plan], 4, tower=True, connector=True)
    assert passing == 0
    assert 0.5 < (cost.activation_bytes - pixel_bytes(plan)) / kept < 2.0


def test_a_frozen_tower_keeps_pixels_alone(loaded):
    bundle = loaded("llava")
    sizes, plan = VisionSizes.of(bundle.model), loaded("llava").encoder.planner(60, 60)
    cost, passing = vision_cost(sizes, [plan], 4, tower=False, connector=False)
    assert cost.activation_bytes == pixel_bytes(plan) == 16 * 16 * 3 * 4 and passing > 0
    assert vision_cost(sizes, [plan] * 3, 4, tower=False, connector=False)[0].flops == 3 * cost.flops

"""Settings of a recipe reach plan and pixels alike, and are saved with the model."""

import pytest

import families
from conftest import picture
from vitrail.data.records import Chat
from vitrail.inference.inputs import model_inputs
from vitrail.models.loading import load
from vitrail.recipes import assembly, shapes
from vitrail.recipes.schema import Model


def counted(bundle):
    """A picture's visual tokens by plan, and by what the model makes of its pixels."""
    content = [picture(1, (60, 60)), {"type": "text", "text": "what?"}]
    record = bundle.encoder.encode(Chat(messages=[{"role": "user", "content": content}]))
    batch = model_inputs(bundle.model, bundle.collator()([record]))
    named = ("pixel_values", "image_grid_thw", "image_sizes", "pixel_attention_mask")
    output = bundle.model.get_image_features(**{name: batch[name] for name in named if name in batch})
    tokens = output.pooler_output
    real = sum(
        len(one.reshape(-1, 32)) for one in (tokens if isinstance(tokens, (list, tuple)) else [tokens])
    )
    return bundle.encoder.planner(60, 60).num_tokens, real


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("qwen2_5_vl", {"max_pixels": 1024}),
        ("qwen3_vl", {"size": {"shortest_edge": 256, "longest_edge": 1024}}),
        ("internvl", {"max_patches": 2}),
        ("smolvlm", {"do_image_splitting": False}),
        ("ovis2", {"max_patches": 2}),
    ],
)
def test_plan_and_pixels_follow_and_are_saved(name, settings, tmp_path):
    folder = families.save_family(name, tmp_path / name)
    model = Model(path=str(folder), image=settings)
    bundle = assembly.build(model)
    planned, real = counted(bundle)
    assert planned == real < counted(load(folder))[0]
    assert shapes.shapes(model).planner(60, 60).num_tokens == planned
    bundle.save(tmp_path / "saved")
    assert counted(load(tmp_path / "saved")) == (planned, real)


def test_what_cannot_be_set_is_said(tmp_path):
    folder = str(families.save_family("qwen2_5_vl", tmp_path / "qwen"))
    with pytest.raises(
        ValueError, match=r"model.image: .* has no setting 'max_pixel'; did you mean 'max_pixels'"
    ):
        assembly.build(Model(path=folder, image={"max_pixel": 3}))
    with pytest.raises(ValueError, match="is what the model has already"):
        assembly.build(Model(path=folder, image={"max_pixels": 48 * 48}))
    with pytest.raises(ValueError, match="only a ready model"):
        Model(testbed="nano", image={"max_pixels": 3})
    with pytest.raises(
        ValueError, match="patch_size: the image processor has 8, the model's configuration 4"
    ):
        assembly.build(Model(path=folder, image={"patch_size": 8}))

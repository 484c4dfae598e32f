import pytest

from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.models import anatomy
from vitrail.recipes import assembly, loading
from vitrail.recipes.costs import language_cost
from vitrail.recipes.plan import plan, sample_lengths


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "own.jsonl"
    turns = ("what do you see in the picture?", "a cat that sits on a red mat, and a dog")
    write_jsonl([chat(*turns, seed=i, id=str(i)) for i in range(20)], path, images="inline")
    return loading.load(
        {
            "name": "mine",
            "model": {"testbed": "nano", "lora": {"r": 2}},
            "data": {"train": {"kind": "file", "path": str(path)}},
            "stages": [
                {"name": "align", "trains": "connector", "max_steps": 10, "batch_size": 4},
                {"name": "tune", "trains": ["connector", "language.lora"], "epochs": 2, "accumulation": 2},
            ],
        }
    )


def test_counts_equal_the_built_model(recipe):
    from vitrail.training.selection import select_parameters

    planned, model = plan(recipe, measure_speed=False), assembly.build(recipe.model).model
    assert planned.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert [part["parameters"] for part in planned.parts] == [row.parameters for row in anatomy.counts(model)]
    for stage, expected in zip(planned.stages, recipe.stages, strict=True):
        assert sum(stage.trained.values()) == select_parameters(model, expected.trains).trained
        assert stage.memory["gradients"] == 4 * sum(stage.trained.values())


def test_numbers_follow_the_stage(recipe):
    align, tune = plan(recipe, measure_speed=False).stages
    assert (align.records, align.steps, align.batch_size, align.seconds) == (20, 10, 4, None)
    assert tune.steps == 3  # 2 epochs of 20 records in steps of 16
    assert tune.trained["connector"] > 0 and tune.trained["tower"] == 0
    per_record = align.flops_a_step / 4, tune.flops_a_step / 16
    assert per_record[1] > per_record[0]  # adapters' gradients are extra work
    assert plan(recipe).seconds > 0
    assert plan(recipe, measure_speed=False) == plan(recipe, measure_speed=False)


def test_lengths_are_near_the_truth(recipe):
    from vitrail.data.readers import open_source

    source = open_source(recipe.data["train"].path)
    bundle = assembly.build(recipe.model)
    true = sum(bundle.encoder.encode(record).length for record in source) / len(source)
    assert sample_lengths(source, 4).tokens == pytest.approx(true, rel=0.5)


def test_operations_of_the_language_model_by_hand():
    from vitrail.recipes.schema import Model

    model = assembly.on_meta(Model(testbed="nano"))
    batch, tokens, labelled = 3, 20, 7
    width, inner, vocabulary = 64, 128, model.config.get_text_config().vocab_size
    layer = width * width * 2 + width * (width // 2) * 2 + 3 * width * inner  # q o, k v, gate up down
    linear = 2 * batch * tokens * 2 * layer + 2 * labelled * width * vocabulary
    attention = 2 * 2 * 2 * batch * tokens**2 * width  # two products in two layers
    model.requires_grad_(False)
    forward = language_cost(model, batch, tokens, labelled, inputs_need_gradients=False)
    frozen = language_cost(model, batch, tokens, labelled, inputs_need_gradients=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("language."))
    full = language_cost(model, batch, tokens, labelled, inputs_need_gradients=True)
    assert forward.flops == linear + attention and forward.activation_bytes == 0
    assert frozen.flops == 2 * linear + 3 * attention  # gradients of inputs; both factors in attention
    assert full.flops == 3 * linear + 3 * attention
    assert 0 < frozen.activation_bytes < full.activation_bytes


def test_a_part_that_is_not_there(recipe):
    with pytest.raises(ValueError, match="did you mean 'connector'"):
        plan(loading.load(recipe, ["stages.0.trains=[conector]"]), measure_speed=False)

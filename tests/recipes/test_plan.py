import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.models import anatomy
from vitrail.recipes import assembly, loading, shapes
from vitrail.recipes.costs import Batch, LiveBytes, language_bytes, language_flops
from vitrail.recipes.lengths import sample
from vitrail.recipes.plan import plan


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
    true = [bundle.encoder.encode(record).length for record in source]
    estimated = sample(source, bundle.encoder.planner).lengths
    assert estimated.tokens == pytest.approx(sum(true) / len(true), rel=0.5) and not estimated.exact
    exact = sample(source, bundle.encoder.planner, bundle.encoder.encode).lengths
    assert (exact.tokens, exact.longest, exact.exact) == (sum(true) / len(true), max(true), True)
    bounded = sample(source, bundle.encoder.planner, bundle.encoder.encode, 2 * max(true)).lengths
    assert bounded.longest == 2 * max(true) and bounded.most_labelled == 2 * exact.most_labelled
    with pytest.raises(ValueError, match="more than max_length=3"):
        sample(source, bundle.encoder.planner, bundle.encoder.encode, 3)


def test_operations_of_the_language_model_by_hand():
    from vitrail.recipes.schema import Model

    model = shapes.on_meta(Model(testbed="nano"))
    batch, tokens, labelled = 3, 20, 7
    width, inner, vocabulary = 64, 128, model.config.get_text_config().vocab_size
    layer = width * width * 2 + width * (width // 2) * 2 + 3 * width * inner  # q o, k v, gate up down
    blocks = 2 * batch * tokens * 2 * layer
    linear = blocks + 2 * labelled * width * vocabulary
    attention = 2 * 2 * 2 * batch * tokens**2 * width  # two products in two layers
    model.requires_grad_(False)
    inputs = Batch(batch, tokens, labelled, inputs_need_gradients=True)
    forward = language_flops(model, Batch(batch, tokens, labelled))
    frozen = language_flops(model, inputs)
    again = language_flops(model, inputs, checkpointing=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("language."))
    full = language_flops(model, inputs)
    angles = rotary_flops(model, batch, tokens)
    assert angles in (0, batch * tokens * head_dim(model))  # 2 · B · T · head_dim / 2 where it is a product
    assert forward == linear + attention + angles
    assert frozen == 2 * linear + 3 * attention + angles  # gradients of inputs; both factors in attention
    assert again == frozen + blocks + attention + angles  # all up to the last state is counted again
    assert full == 3 * linear + 3 * attention + angles


def head_dim(model):
    text = model.config.get_text_config()
    return getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads


def rotary_flops(model, batch, tokens):
    """Some releases of transformers make rotary angles by a matrix product, in front of the blocks and once."""
    states = torch.empty(batch, tokens, model.config.get_text_config().hidden_size, device="meta")
    positions = torch.arange(tokens, device="meta").expand(batch, -1)
    with FlopCounterMode(display=False) as counter:
        model.get_decoder().rotary_emb(states, positions)
    return counter.get_total_flops()


def test_live_bytes_by_hand():
    weight = torch.zeros(8, 8, requires_grad=True)
    with LiveBytes([weight]) as live:
        first = torch.zeros(4, 8)  # 128 bytes
        second = first @ weight.T  # 128, and backward needs the first
        del first
        third = second.view(8, 4)  # no memory of its own
        assert live.alive == live.peak == 256
        del second, third
    assert (live.alive, live.peak) == (0, 256)


@pytest.mark.parametrize("blocks", [4, 9])
def test_a_stack_is_continued_to_its_length(blocks, monkeypatch):
    """From two and three blocks, as the whole measured at once; with checkpointing a block keeps little."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 100}
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=blocks, **sizes))
    model.requires_grad_(False)
    batch = Batch(2, 48, 20, inputs_need_gradients=True)

    def figures():
        kept = [language_bytes(model, batch, checkpointing=checkpointing) for checkpointing in (False, True)]
        return [*kept, language_flops(model, batch)]

    continued = figures()
    monkeypatch.setattr("vitrail.recipes.costs.MEASURED_BLOCKS", (98, 99))
    assert figures() == pytest.approx(continued, rel=0.02)
    assert continued[1] < continued[0] / 2


def test_a_part_that_is_not_there(recipe):
    with pytest.raises(ValueError, match="did you mean 'connector'"):
        plan(loading.load(recipe, ["stages.0.trains=[conector]"]), measure_speed=False)

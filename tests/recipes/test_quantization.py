"""Bases in fewer bits under adapters, and optimisers in 8 bits: what is quantised, what trains, what is saved."""

import importlib.util
import sys

import pytest
import torch
from safetensors.torch import load_file

import families
from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.models.loading import load, load_config
from vitrail.objectives.next_token import NextToken
from vitrail.recipes import assembly, loading
from vitrail.recipes.adapters import linear_layers
from vitrail.recipes.plan import plan
from vitrail.recipes.problems import RecipeError
from vitrail.recipes.run import run
from vitrail.recipes.schema import Model
from vitrail.training.selection import select_parameters
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage

needs_bitsandbytes = pytest.mark.skipif(
    not importlib.util.find_spec("bitsandbytes"), reason="needs the extra 'quantised'"
)
THREE = pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "smolvlm"])


def model(folder, bits=4, **changes):
    return {
        "path": str(folder),
        "quantization": bits,
        "lora": {"r": 2, "alpha": 4},
        "dtype": "float32",
        **changes,
    }


def recipe(folder, data, **stage):
    settings = {
        "name": "tune",
        "trains": ["language.lora"],
        "max_steps": 3,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "precision": "float32",
        **stage,
    }
    return loading.load(
        {
            "name": "few-bits",
            "model": model(folder),
            "data": {"train": {"kind": "file", "path": str(data)}},
            "stages": [settings],
        }
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    chats = [chat("what is it?", "a cat", seed=i, id=f"r{i}") for i in range(6)]
    write_jsonl(chats, path, images="inline")
    return path


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Tiny models whose linear layers take whole blocks of 64 weights, written once."""
    known = {}

    def get(name):
        if name not in known:
            with pytest.MonkeyPatch.context() as patch:
                for key, value in (
                    ("hidden_size", 64),
                    ("num_attention_heads", 8),
                    ("num_key_value_heads", 4),
                ):
                    patch.setitem(families.TEXT, key, value)
                patch.setitem(families._QWEN_VISION, "out_hidden_size", 64)
                known[name] = families.save_family(name, tmp_path_factory.mktemp("wide") / name)
        return known[name]

    return get


@needs_bitsandbytes
@THREE
@pytest.mark.parametrize(("bits", "most"), [(4, 0.15), (8, 0.02)])
def test_linear_layers_of_the_decoder_are_quantised_and_give_nearly_the_same(wide, name, bits, most):
    folder = wide(name)
    plain, few = (assembly.build(Model(**model(folder, quantization=one))) for one in (None, bits))
    layers = linear_layers(plain.model, ("language",), "where")
    bases = {
        path
        for path, module in few.model.named_modules()
        if type(module).__module__.startswith("bitsandbytes")
    }
    named = {path.removesuffix(".base_layer") for path in bases}
    assert named == {path.removesuffix(".base_layer") for path in layers if "lora_" not in path}
    ways = [dict(bundle.model.named_modules()) for bundle in (plain, few)]
    for path in bases:
        one, other = (way[path] for way in ways)
        x = torch.randn(16, one.in_features, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert float((other(x) - one(x)).norm() / one(x).norm()) < most, path


@needs_bitsandbytes
@THREE
def test_only_adapters_train_and_are_folded_into_the_weights_as_they_were(wide, records, tmp_path, name):
    folder = wide(name)
    run(recipe(folder, records), tmp_path / "run", device="cpu", report=False)
    before, after = (
        load_file(folder / "model.safetensors"),
        load_file(tmp_path / "run" / "model" / "model.safetensors"),
    )
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert before.keys() == after.keys()
    assert changed and all(
        torch.linalg.matrix_rank(after[key] - before[key], atol=1e-5) <= 2 for key in changed
    )
    assert "quantization_config" not in (tmp_path / "run" / "model" / "config.json").read_text()
    load(tmp_path / "run")


@needs_bitsandbytes
def test_a_killed_stage_on_a_quantised_base_with_an_8_bit_optimiser_goes_on_to_the_bit(wide, tmp_path):
    config = StageConfig(
        name="few",
        trains=("language.lora", "connector"),
        max_steps=4,
        batch_size=2,
        learning_rate=1e-2,
        precision="float32",
        optimizer="adamw_8bit",
        checkpoint_steps=2,
    )

    def train(folder, break_at=0):
        bundle = assembly.build(Model(**model(wide("llava"))))
        data = [bundle.encoder.encode(chat("what is it?", "a cat", seed=i, id=f"r{i}")) for i in range(6)]
        train_stage(bundle.model, data, bundle.collator(), Breaks(break_at), config, folder, device="cpu")
        return load_file(folder / "final.safetensors")

    whole = train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="on purpose"):
        train(tmp_path / "broken", 4)
    resumed = train(tmp_path / "broken")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert any("connector" in key or "multi_modal_projector" in key for key in whole)


class Breaks(NextToken):
    def __init__(self, at):
        super().__init__()
        self.break_at, self.calls = at, 0

    def forward(self, model, batch):
        self.calls += 1
        if self.calls == self.break_at:
            raise RuntimeError("broken off on purpose")
        return super().forward(model, batch)


def test_a_plan_counts_few_bits(wide, records):
    def memory(bits, optimizer):
        planned = loading.load(
            recipe(wide("llava"), records), {"stages.0.optimizer": optimizer, "model.quantization": bits}
        )
        return plan(planned, measure_speed=False).stages[0].memory

    many, few = memory(None, "adamw_torch_fused"), memory(4, "adamw_8bit")
    config = load_config(str(wide("llava"))).text_config
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * config.intermediate_size
    assert many["weights"] - few["weights"] == pytest.approx(
        config.num_hidden_layers * layer * (4 - 0.5159), rel=1e-3
    )
    assert few["optimiser"] == many["optimiser"] / 4


@needs_bitsandbytes
def test_what_is_quantised_does_not_train(wide):
    bundle = assembly.build(Model(**model(wide("llava"))))
    with pytest.raises(ValueError, match=r"'language', but its .* is quantised .* train language\.lora"):
        select_parameters(bundle.model, ["language"])


def one_step(bundle, folder, optimizer):
    data = [bundle.encoder.encode(chat("what?", "a cat"))]
    config = StageConfig(name="tiny", max_steps=1, batch_size=1, optimizer=optimizer)
    train_stage(bundle.model, data, bundle.collator(), NextToken(), config, folder, device="cpu")


@needs_bitsandbytes
def test_rows_that_are_no_whole_blocks_are_refused_where_they_would_be_misread(saved_family):
    with pytest.raises(ValueError, match=r"takes 32 inputs.*64.*bits: 8"):
        assembly.build(Model(**model(saved_family("llava"))))


@needs_bitsandbytes
def test_paged_optimisers_are_refused_off_cuda(fresh_nano, tmp_path):
    with pytest.raises(ValueError, match=r"paged_adamw_8bit.* this stage runs on cpu; use 'adamw_8bit'"):
        one_step(fresh_nano, tmp_path / "stage", "paged_adamw_8bit")
    assert not (tmp_path / "stage").exists()


def test_the_missing_extra_is_named(fresh_nano, saved_family, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        ImportError, match=r"'adamw_8bit' needs bitsandbytes: pip install 'vitrail\[quantised\]'"
    ):
        one_step(fresh_nano, tmp_path / "stage", "adamw_8bit")
    with pytest.raises(ImportError, match=r"model.quantization needs bitsandbytes: pip install"):
        assembly.build(Model(**model(saved_family("llava"))))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": None}, "quantised weights do not train, adapters on them do; give 'lora'"),
        ({"lora": {"dora": True}}, "DoRA reads the weights"),
        ({"quantization": {"bits": 8, "kind": "fp4"}}, "no effect with 8 bits"),
        ({"quantization": 5}, "quantization"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, said):
    values = {"name": "x", "model": model("somewhere", **changes)}
    with pytest.raises(RecipeError, match=said):
        loading.load(values)

"""One recipe for every family: adapters trained, questions asked, folded in, loaded again by plain transformers."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

import families
from conftest import chat, picture
from vitrail.cli.main import main
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Chat
from vitrail.inference.inputs import model_inputs
from vitrail.models.loading import load
from vitrail.recipes import loading
from vitrail.recipes.adapters import fingerprints, target_layers
from vitrail.recipes.run import run as run_recipe
from vitrail.recipes.schema import Lora

FAST = ("llava", "qwen2_5_vl", "smolvlm", "internvl")
each_family = pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.long) for name in families.MULTIMODAL],
)
RECIPE = """
name: adapters
model: {path: placeholder, lora: {r: 2, alpha: 8}}
data:
  mine: {kind: file, path: mine.jsonl}
  scenes: {kind: scenes, suite: scenes-v1, fold: test, names: known, n: 4, kinds: [kind, count]}
stages:
  - {name: tune, data: mine, trains: [language.lora], learning_rate: 1e-1, batch_size: 2, max_steps: 3, warmup: 0}
evaluation:
  - {name: scenes, data: scenes}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe and the rows that it trains on: text only, one picture, several."""
    folder = tmp_path_factory.mktemp("one-recipe")
    several = [picture(7, (70, 20)), {"type": "text", "text": "and"}, picture(8, (15, 40))]
    turns = [{"role": "user", "content": several}, {"role": "assistant", "content": "they differ"}]
    rows = [chat("what is it?", "a cat on a mat", seed=i) for i in range(3)]
    rows += [chat("hello there", "good day", images=0), Chat(messages=turns)]
    write_jsonl(rows, folder / "mine.jsonl", images="inline")
    (folder / "adapters.yaml").write_text(RECIPE)
    return folder


def records():
    return [chat("hello there", "good day", images=0), chat("what is this?", "a cat", seed=3)]


def logits(model, bundle):
    batch = model_inputs(model, bundle.collator()([bundle.encoder.encode(record) for record in records()]))
    with torch.inference_mode():
        return model(**batch).logits


@each_family
def test_one_command_trains_asks_folds_in_and_plain_transformers_loads_it(
    place, saved_family, name, tmp_path, capsys
):
    words = [
        "train",
        str(place / "adapters.yaml"),
        f"model.path={saved_family(name)}",
        "--run",
        str(tmp_path / "run"),
    ]
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert found["stages"]["tune"]["step"] == 3
    assert {condition: one["n"] for condition, one in found["scores"]["scenes"].items()} == {
        "trained": 4, "blind": 4, "untrained": 4,
    }  # fmt: skip
    base, trained = load(saved_family(name)), load(tmp_path / "run")
    before, after = fingerprints(base.model), fingerprints(trained.model)
    changed = {tensor for tensor, value in after.items() if value != before[tensor]}
    assert changed == {f"{layer}.weight" for layer in target_layers(base.model, Lora())}
    assert len(changed) == 3 * 7
    assert (logits(trained.model, trained) - logits(base.model, base)).abs().max() > 1e-3
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "run" / "model").eval()
    assert (logits(plain, trained) - logits(trained.model, trained)).abs().max() <= 1e-5


def trained(place, folder, run, *overrides):
    """The saved model of a run of the recipe without its evaluation."""
    recipe = loading.load(
        place / "adapters.yaml",
        {"model.path": str(folder), "evaluation": [], "data.mine.n": 4, **dict(overrides)},
    )
    run_recipe(recipe, run)
    return load(run).model


def test_checkpointing_trains_the_same(place, saved_family, tmp_path):
    """Adapters over frozen embeddings: activations that are computed again must still lead to a gradient."""
    plain = trained(place, saved_family("llava"), tmp_path / "plain").state_dict()
    again = trained(
        place, saved_family("llava"), tmp_path / "again", ("stages.tune.gradient_checkpointing", True)
    ).state_dict()
    base = load(saved_family("llava")).model.state_dict()
    assert any(not torch.equal(value, base[name]) for name, value in plain.items())
    for name, value in plain.items():
        assert torch.allclose(again[name], value, atol=1e-5), name


def test_without_adapters(place, saved_family, tmp_path):
    """The parts that a stage names train, as a whole and some blocks, and nothing else."""
    model = trained(
        place,
        saved_family("qwen2_5_vl"),
        tmp_path / "run",
        ("model.lora", None),
        ("stages.tune.trains", ["connector", "language.layers[-1:]"]),
    )
    before, after = fingerprints(load(saved_family("qwen2_5_vl")).model), fingerprints(model)
    changed = {name for name, value in after.items() if value != before[name]}
    assert any(name.startswith("model.visual.merger.") for name in changed)
    assert any(name.startswith("model.language_model.layers.2.") for name in changed)
    assert all(
        name.startswith(("model.visual.merger.", "model.language_model.layers.2.")) for name in changed
    )


def test_half_weights_come_back_in_their_own_type(place, saved_family, tmp_path):
    """A connector trains in float32 over bfloat16 weights, and is saved as bfloat16, like the rest."""
    model = trained(
        place, saved_family("llava"), tmp_path / "run", ("model.dtype", "bfloat16"), ("model.lora", None),
        ("stages.tune.trains", ["connector"]),
    )  # fmt: skip
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    # Loading would cast whatever is there: what counts is what was written.
    written = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert {value.dtype for value in written.values()} == {torch.bfloat16}
    base = load(saved_family("llava"), dtype=torch.bfloat16).model
    moved = [name for name, value in fingerprints(model).items() if value != fingerprints(base)[name]]
    assert moved and all("multi_modal_projector" in name for name in moved)

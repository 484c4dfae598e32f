"""The recipes for one 24 GB card: planned at their real size without weights, run on their tiny siblings."""

import json
import subprocess
import sys

import pytest
import torch

import families
import large_configs
from conftest import picture
from vitrail.cli.main import main
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Chat
from vitrail.models.loading import load
from vitrail.recipes import loading
from vitrail.recipes.adapters import fingerprints, target_layers
from vitrail.recipes.schema import Lora

CARD = 22 * 2**30  # of 24 GB, what a process can have beside the card's own
RECIPES = {
    "llava-1.5-7b-lora": (large_configs.llava, "llava", 7_063_427_072),
    "qwen2.5-vl-7b-lora": (large_configs.qwen2_5_vl, "qwen2_5_vl", 8_292_166_656),
}
each_recipe = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Conversations about pictures of the sizes that cameras and screens have."""
    path = tmp_path_factory.mktemp("rows") / "mine.jsonl"
    answer = "a long answer about what is in the picture " * 8
    chats = []
    for index, size in enumerate([(640, 480), (1024, 768), (480, 640), (1280, 720)] * 4):
        content = [picture(index, size), {"type": "text", "text": "what do you see?"}]
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        chats.append(Chat(messages=turns, id=str(index)))
    write_jsonl(chats, path, images="inline")
    return path


@each_recipe
def test_the_plan_fits_the_card(name, rows, tmp_path):
    """In a process of its own, whose memory is looked at: a folder with config.json and preprocessor_config.json."""
    make, _, parameters = RECIPES[name]
    folder = large_configs.write(make, tmp_path / "described")
    words = ["plan", name, "--data", str(rows), "--model", str(folder), "--no-speed", "--json"]
    # Not getrusage: its peak begins with that of the process that started this one.
    code = (
        "import re, sys; from vitrail.cli.main import main; code = main(sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 2 * 1024**2  # KiB
    planned = json.loads(done.stdout)
    (stage,) = planned["stages"]
    assert planned["parameters"] - sum(stage["trained"].values()) == parameters
    assert 2 * parameters < stage["memory"]["weights"] < 2.05 * parameters
    assert planned["peak_bytes"] < CARD
    assert stage["lengths"]["longest"] == 2048 and stage["lengths"]["pictures"] == 1
    assert stage["flops_a_step"] > 4 * parameters * 16 * stage["lengths"]["tokens"] * 0.9


def _limited(fields, limit):
    settings = {**fields, "model.image": {"max_pixels": limit}, "stages": []}
    return loading.load("qwen2.5-vl-7b-lora", settings)


def test_the_recipes_limit_holds_for_the_plan(rows, tmp_path):
    from vitrail.recipes.plan import plan

    make, _, _ = RECIPES["qwen2.5-vl-7b-lora"]
    folder = large_configs.write(make, tmp_path / "described")
    fields = {"model.path": str(folder), "data.mine.path": str(rows)}
    tokens = [
        one["tokens"]
        for limit in (802816, 200704)
        for one in plan(_limited(fields, limit), measure_speed=False).anatomy["pictures"]
        if one["width"] == 1280
    ]
    assert 900 < tokens[0] <= 1024 and 200 < tokens[1] <= 256


@each_recipe
def test_the_same_recipe_on_the_tiny_sibling(name, rows, tmp_path, capsys):
    """bfloat16 weights, checkpointing, accumulation, limits of pictures and records: all as in the recipe."""
    _, family, _ = RECIPES[name]
    folder = families.save_family(family, tmp_path / "tiny")
    words = [
        "train",
        name,
        "--data",
        str(rows),
        "--model",
        str(folder),
        "--run",
        str(tmp_path / "run"),
        "--json",
    ]
    words += [f"stages.tune.{one}" for one in ("max_steps=2", "epochs=9", "accumulation=2", "workers=0")]
    if family == "qwen2_5_vl":
        words.append("model.image.max_pixels=1024")
    assert main(words) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert found["stages"]["tune"]["step"] == 2
    assert found["stages"]["tune"]["plan"]["precision"] == "bfloat16"
    base, trained = load(folder, dtype=torch.bfloat16), load(tmp_path / "run")
    before, after = fingerprints(base.model), fingerprints(trained.model)
    changed = {tensor for tensor, value in after.items() if value != before[tensor]}
    assert changed == {f"{layer}.weight" for layer in target_layers(base.model, Lora())}
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    if family == "qwen2_5_vl":
        assert trained.encoder.planner(1280, 720).num_tokens <= 1024 / 64

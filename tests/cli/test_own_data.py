"""``vitrail train --data FILE --model FOLDER`` as an outsider's script runs it, on rows of many formats."""

import argparse
import base64
import json
import subprocess
import sys

import pytest
import transformers as T

import families
import family_files
from conftest import chat, picture
from vitrail.cli.main import main
from vitrail.cli.own_data import find_recipe, run_name
from vitrail.data.readers import write_jsonl
from vitrail.models.loading import load
from vitrail.recipes import loading

TURNS = ("What is in the picture?", "A cat on a mat, and <image> is a word.")


def rows_of(style, image):
    """A row of the format, as its own documentation writes it; the picture at ``image``."""
    asked, said = TURNS
    marked = f"<image>\n{asked}"
    return {
        "messages": {"messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]},
            {"role": "assistant", "content": [{"type": "text", "text": said}]},
        ], "images": [image]},
        "trl": {"prompt": [{"role": "user", "content": asked}],
                "completion": [{"role": "assistant", "content": said}], "images": [image]},
        "swift": {"messages": [{"role": "user", "content": marked}, {"role": "assistant", "content": said}],
                  "images": [image]},
        "llava": {"id": "1", "image": image, "conversations": [
            {"from": "human", "value": marked}, {"from": "gpt", "value": said}]},
        "sharegpt": {"conversations": [{"from": "human", "value": marked}, {"from": "gpt", "value": said}],
                     "images": [image], "system": "Be brief."},
    }[style]  # fmt: skip


def openai_row(data):
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    content = [{"type": "text", "text": TURNS[0]}, {"type": "image_url", "image_url": {"url": url}}]
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": TURNS[1]}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, pictures, and one file of rows for each format."""
    folder = tmp_path_factory.mktemp("outsider")
    families.save_family("smolvlm", folder / "model")
    (folder / "pictures").mkdir()
    for index in range(9):
        (folder / "pictures" / f"{index}.png").write_bytes(picture(index, (40, 30)).bytes)
    for style in ("messages", "trl", "swift", "llava", "sharegpt"):
        lines = [json.dumps(rows_of(style, f"pictures/{index}.png")) for index in range(9)]
        (folder / f"{style}.jsonl").write_text("\n".join(lines))
    lines = [json.dumps(openai_row(picture(index, (40, 30)).bytes)) for index in range(9)]
    (folder / "openai.jsonl").write_text("\n".join(lines))
    return folder


def vitrail(folder, *words):
    command = [sys.executable, "-m", "vitrail.cli.main", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("style", ["trl", pytest.param("all", marks=pytest.mark.long)])
def test_an_outsider_trains_with_one_line(place, style):
    styles = ("messages", "swift", "llava", "sharegpt", "openai") if style == "all" else (style,)
    for one in styles:
        words = ("train", "--data", f"{one}.jsonl", "--model", "model", "stages.tune.max_steps=2", "--json")
        found = json.loads(vitrail(place, *words).stdout)
        assert found["run"] == f"runs/{one}" and found["stages"]["tune"]["step"] == 2
        assert load(place / "runs" / one).model.config.model_type == "smolvlm"
    answer = vitrail(place, "chat", f"runs/{styles[0]}", "--image", "pictures/0.png", TURNS[0], "--json")
    assert "answer" in json.loads(answer.stdout)


@pytest.mark.parametrize("style", ["messages", "trl", "swift", "llava", "sharegpt", "openai"])
def test_each_format_gives_the_same_tokens(place, style):
    """One picture where the format puts it, the answer learnt, and its ``<image>`` a word."""
    from vitrail.data.readers import open_source
    from vitrail.recipes.datasets import EncodedRecords

    bundle = load(place / "model")
    records = EncodedRecords(open_source(str(place / f"{style}.jsonl")), bundle.encoder)
    assert len(records) == 9
    encoded = records[0]
    assert len(encoded.images) == 1
    learnt = bundle.tokenizer.decode(encoded.input_ids[encoded.labels != -100], skip_special_tokens=False)
    assert TURNS[1] in learnt.replace("<end_of_utterance>", "")
    plan = bundle.encoder.planner(40, 30)
    assert (encoded.input_ids == bundle.model.config.image_token_id).sum() == plan.num_tokens


def arguments(**given):
    return argparse.Namespace(
        **{"recipe": None, "overrides": [], "data": None, "model": None, "root": None, "eval": None, **given}
    )


def test_a_named_recipe_keeps_its_settings():
    recipe, name = find_recipe(
        arguments(recipe="qwen2.5-vl-7b-lora", data="x.jsonl", model="here", eval="q.jsonl")
    )
    assert name == recipe.name == "qwen2.5-vl-7b-lora"
    assert recipe.model.path == "here" and recipe.model.dtype == "bfloat16" and recipe.model.lora.r == 16
    assert recipe.data["mine"].path == "x.jsonl" and recipe.data["mine"].max_length == 2048
    assert recipe.evaluation[0].data == "questions"


def test_without_a_recipe_the_file_names_the_run():
    recipe, name = find_recipe(arguments(data="my data.jsonl", model="here"))
    assert (name, recipe.name, recipe.model.path) == (None, "my-data", "here")
    recipe, _ = find_recipe(arguments(recipe="seed=3", data="rows.jsonl"))
    assert recipe.seed == 3 and recipe.model.testbed == "small"
    assert run_name("数据.jsonl") == "mine" and run_name("a/b.c.jsonl") == "b.c"
    with pytest.raises(ValueError, match=r"--data takes the place of the file .* 'quickstart' has none"):
        find_recipe(arguments(recipe="quickstart", data="x.jsonl"))


def plain_language_model(folder):
    own = family_files.tokenizer("smolvlm")
    tokens = {
        "bos_token_id": own.bos_token_id,
        "eos_token_id": own.eos_token_id,
        "pad_token_id": own.pad_token_id,
    }
    sizes = {**families.TEXT, **tokens, "vocab_size": family_files.TOKENS, "max_position_embeddings": 2048}
    T.LlamaForCausalLM._from_config(T.LlamaConfig(**sizes)).save_pretrained(folder)
    own.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A plain language model, and five conversations without pictures: fewer than the recipe's batch of eight."""
    folder = tmp_path_factory.mktemp("texts")
    plain_language_model(folder / "model")
    write_jsonl([chat("say it", f"a cat {i}", images=0, id=str(i)) for i in range(5)], folder / "few.jsonl")
    return folder


def test_a_plain_language_model_trains_on_a_few_rows(texts, monkeypatch, capsys):
    """It has no connector, and the file fewer rows than a batch: both are said, and the plan agrees."""
    monkeypatch.chdir(texts)
    words = ("--data", "few.jsonl", "--model", "model")
    assert main(["plan", *words, "--no-speed", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["stages"][0]
    assert main(["train", *words]) == 0
    said = capsys.readouterr().err
    assert "model has no connector, so tune trains the other parts alone" in said
    assert "5 records are fewer than the 8 of a step; batch_size is 5 and accumulation 1 here" in said
    stage = json.loads((texts / "runs" / "few" / "stages" / "tune" / "plan.json").read_text())
    assert (planned["batch_size"], planned["steps"]) == (stage["records_a_step"], stage["steps"]) == (5, 3)
    recipe = loading.load(texts / "runs" / "few")
    assert recipe.stages[0].trains == ("language.lora",) and recipe.stages[0].batch_size == 8
    assert recipe.stages[0].learning_rate == {"language.lora": 2e-4}
    assert main(["train", *words, "--quiet"]) == 0 and not capsys.readouterr().err  # finished: nothing again
    bundle = load(texts / "runs" / "few")
    assert type(bundle.model).__name__ == "LlamaForCausalLM"


def test_words_of_ones_own_come_after_what_is_left_out(texts):
    recipe, _ = find_recipe(
        arguments(data="x.jsonl", model=str(texts / "model"), overrides=["stages.tune.learning_rate=1e-4"])
    )
    assert recipe.stages[0].trains == ("language.lora",) and recipe.stages[0].learning_rate == 1e-4


def test_a_model_with_a_connector_keeps_it(place):
    recipe, _ = find_recipe(arguments(data="x.jsonl", model=str(place / "model")))
    assert recipe.stages[0].trains == ("connector", "language.lora")


def test_root_is_where_relative_pictures_begin(place, tmp_path, capsys):
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_text((place / "messages.jsonl").read_text())
    words = ["plan", "--data", str(moved), "--model", str(place / "model"), "--no-speed", "--json"]
    assert main(words) == 2 and "pictures" in capsys.readouterr().err
    assert main([*words, "--root", str(place)]) == 0
    recipe, _ = find_recipe(arguments(data="x.jsonl", model="here", root="pictures"))
    assert recipe.data["mine"].root == "pictures"
    with pytest.raises(ValueError, match="--root goes with --data"):
        find_recipe(arguments(recipe="nano", root="pictures"))

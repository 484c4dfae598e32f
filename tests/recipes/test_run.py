"""The whole way, on a nano model: train, evaluate, report, resume."""

import json
import shutil
import subprocess
import sys
import time

import pytest
import yaml

from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Choices
from vitrail.recipes import loading
from vitrail.recipes.report import write_report
from vitrail.recipes.run import run, train
from vitrail.storage.log import read_log
from vitrail.storage.runs import RecipeDiffers

VOLATILE = {"seconds", "samples_per_second", "tokens_per_second"}


def question(seed):
    options = tuple(({"type": "text", "text": text},) for text in ("a cat", "a dog", "two birds"))
    asked = chat("what is it?", seed=seed, id=f"q{seed}")
    meta = {"kind": ("what", "count")[seed % 2], "picture": f"p{seed // 2}"}
    return asked.model_copy(update={"choices": Choices(options=options, answer=seed % 3), "meta": meta})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    turns = ("what is it?", "a cat on a mat")
    chats = [chat(*turns, seed=i, id=f"c{i}") for i in range(24)]
    write_jsonl(chats, folder / "train.jsonl", images="inline")
    write_jsonl([question(i) for i in range(12)], folder / "questions.jsonl", images="inline")
    write_jsonl(
        [chat("what is it?", id=f"u{i}") for i in range(12)], folder / "unanswered.jsonl", images="inline"
    )
    return folder


def recipe(data, **fields):
    return loading.load(
        {
            "name": "mine",
            "model": {"testbed": "nano", "lora": {"r": 2}},
            "data": {
                "train": {"kind": "file", "path": str(data / "train.jsonl")},
                "questions": {"kind": "file", "path": str(data / "questions.jsonl")},
                "unanswered": {"kind": "file", "path": str(data / "unanswered.jsonl")},
            },
            "stages": [
                {"name": "align", "objective": "word_alignment", "max_steps": 4, "batch_size": 8},
                {"name": "tune", "trains": ["connector", "language.lora"], "max_steps": 6, "batch_size": 4},
            ],
            "evaluation": [{"name": "mine", "data": "questions"}],
            "report": {"gallery": 5},
            **fields,
        }
    )


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    return run(recipe(data), folder)


def losses(folder, stage):
    rows = read_log(folder / "stages" / stage / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in VOLATILE} for row in rows]


def answers(folder, condition):
    rows = read_log(folder / "evaluation" / "mine" / f"{condition}.jsonl")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows[1:]]


def test_everything_is_there(finished):
    folder = finished.folder
    assert set(finished.scores["mine"]) == {"trained", "blind", "untrained"}
    for score in finished.scores["mine"].values():
        assert score["n"] == 12 and set(score["by_kind"]) == {"what", "count"}
    assert finished.stages["align"]["step"] == 4 and finished.stages["tune"]["step"] == 6
    plan = json.loads((folder / "plan.json").read_text())
    assert [stage["steps"] for stage in plan["stages"]] == [4, 6]
    assert loading.load(folder) == finished.recipe
    assert answers(folder, "trained") != answers(folder, "untrained")
    assert answers(folder, "trained") != answers(folder, "blind")
    assert json.loads(json.dumps(finished.as_json()))["run"] == str(folder)


def test_the_saved_model_is_the_trained_one(finished):
    import torch

    bundle = finished.load()
    assert not any("lora" in name for name in bundle.model.state_dict())
    from vitrail.recipes import assembly

    fresh = assembly.build(loading.load(finished.recipe, ["model.lora=null"]).model).model.state_dict()
    changed = {
        name for name, value in bundle.model.state_dict().items() if not torch.equal(value, fresh[name])
    }
    assert any(name.startswith("connector.") for name in changed)
    assert any("q_proj" in name for name in changed)
    assert not any(name.startswith("tower.") for name in changed)
    assert not any("norm" in name and name.startswith("language.") for name in changed)


def test_a_finished_run_does_nothing_again(finished, monkeypatch):
    from vitrail.models import loading as model_loading
    from vitrail.recipes import assembly

    def refuse(*args, **options):
        raise AssertionError("a model was made for a run that is finished")

    monkeypatch.setattr(assembly, "build", refuse)
    monkeypatch.setattr(model_loading, "load", refuse)
    again = run(finished.recipe, finished.folder)
    assert json.dumps(again.scores) == json.dumps(finished.scores)


def test_another_recipe_and_never(data, finished):
    with pytest.raises(RecipeDiffers, match=r"stages\.1\.max_steps: 6 in the run, 7 now"):
        run(loading.load(finished.recipe, ["stages.tune.max_steps=7"]), finished.folder)
    with pytest.raises(ValueError, match="holds a run already"):
        run(finished.recipe, finished.folder, resume="never")


@pytest.mark.parametrize("value", [None, 7])
def test_a_run_begun_before_a_field_existed_goes_on(data, finished, tmp_path, value):
    """``None``: the stored recipe and its stages lack fields; 7: one of them has another value than the default."""
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    shutil.rmtree(folder / "model")
    stored = yaml.safe_load((folder / "recipe.yaml").read_text())
    stage = json.loads((folder / "stages" / "tune" / "stage.json").read_text())
    del stored["seed"], stored["model"]["lora"]["save"]
    del stored["stages"][1]["accumulation"], stored["stages"][1]["betas"]
    del stage["config"]["accumulation"], stage["config"]["epsilon"]
    if value is not None:
        stored["stages"][1]["accumulation"] = value
    (folder / "recipe.yaml").write_text(yaml.safe_dump(stored))
    (folder / "stages" / "tune" / "stage.json").write_text(json.dumps(stage))
    if value is None:
        again = run(finished.recipe, folder)
        assert again.stages == finished.stages and again.load().model is not None
    else:
        with pytest.raises(RecipeDiffers, match=r"stages\.1\.accumulation: 7 in the run, 1 now"):
            run(finished.recipe, folder)


def test_the_report_depends_on_the_folder_alone(data, finished, tmp_path):
    page = (finished.folder / "report.html").read_bytes()
    (data / "questions.jsonl").rename(data / "gone.jsonl")
    try:
        assert write_report(finished.folder, tmp_path / "again.html").read_bytes() == page
    finally:
        (data / "gone.jsonl").rename(data / "questions.jsonl")
    text = page.decode()
    assert "http://" not in text.replace("http://www.w3.org", "") and "<script src" not in text
    for said in ("a cat", "two birds", "chance", "word_alignment", "untrained", "HuggingFaceTower"):
        assert said in text
    assert text.count("data:image") == 5


def test_gallery_takes_mistakes_of_every_kind_first(finished):
    from vitrail.evaluation.answers import read_answers
    from vitrail.recipes.evaluation_run import choose

    rows = read_answers(finished.folder / "evaluation" / "mine" / "trained.jsonl")
    chosen = choose(rows, 4)
    assert sorted(row["kind"] for row in chosen) == ["count", "count", "what", "what"]
    for kind in ("what", "count"):
        wrong = sum(not row["correct"] for row in rows.rows if row["kind"] == kind)
        assert sum(not row["correct"] for row in chosen if row["kind"] == kind) == min(2, wrong)


ALIGN, TUNE = (f"stages/{stage}/metrics.jsonl" for stage in ("align", "tune"))
ASKING = "evaluation/mine/trained.jsonl"


@pytest.mark.parametrize("marks", [(TUNE,), pytest.param((ALIGN, TUNE, ASKING), marks=pytest.mark.long)])
def test_killed_and_started_again(data, finished, tmp_path, marks):
    """SIGKILL when a file of these appears; the end is that of a run that was left alone."""
    script = tmp_path / "go.py"
    script.write_text(
        "import sys, vitrail.recipes.run as r\nr.run(r.loading.load(sys.argv[1]), sys.argv[2])\n"
    )
    source, folder = tmp_path / "recipe.yaml", tmp_path / "run"
    source.write_text(loading.dump(finished.recipe))
    command = [sys.executable, str(script), str(source), str(folder)]
    for mark in marks:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (folder / mark).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None, f"the run ended before {mark} was seen"
        process.kill()
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for stage in ("align", "tune"):
        assert losses(folder, stage) == losses(finished.folder, stage)
    for condition in ("trained", "blind", "untrained"):
        assert answers(folder, condition) == answers(finished.folder, condition)


def test_a_ready_model_without_stages(data, finished, tmp_path):
    result = train(
        {"name": "ask", "model": str(finished.folder)},
        run_folder=tmp_path / "ask",
        overrides={
            "data": {"questions": {"kind": "file", "path": str(data / "questions.jsonl"), "n": 6}},
            "evaluation": [
                {"name": "mine", "data": "questions", "inferencer": "generate", "metric": "match"}
            ],
        },
        seed=3,
    )
    assert result.recipe.seed == 3 and set(result.scores["mine"]) == {"trained", "blind"}
    assert result.scores["mine"]["trained"]["n"] == 6


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["stages.0.trains=[conector]"], "did you mean 'connector'"),
        (["data.train.path=nowhere.jsonl"], "data.train: there is no file nowhere.jsonl"),
        (["stages.tune.trains=[connector]"], "model.lora: no stage trains the adapters; add 'language.lora'"),
        (["model.lora.save=both"], r"model.lora.save: stages also train '\S*connector"),
        (["evaluation.0.metric=match"], "metric 'match' needs a text"),
        (["stages=[]", "evaluation.0.conditions=[untrained]"], "there are no stages, so no untrained model"),
        (["stages.0.data=unanswered"], "no assistant turn to learn from"),
    ],
)
def test_what_is_wrong_is_said_before_much_is_spent(data, tmp_path, overrides, said):
    with pytest.raises(ValueError, match=said):
        run(loading.load(recipe(data), overrides), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()

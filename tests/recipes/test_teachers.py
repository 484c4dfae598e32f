"""Teachers of a recipe: trained once, found again, refused before anything is spent; what they cost in a plan."""

import json

import pytest

import families
from distilling import TEACHER  # noqa: F401  (registers the objectives)
from vitrail.objectives.teacher import TeacherConfig
from vitrail.recipes import teachers
from vitrail.recipes.loading import load, plain
from vitrail.recipes.plan import plan
from vitrail.recipes.run import run
from vitrail.training.progress import QuietProgress


def recipe(objective, **fields):
    base = plain(load("nano"))
    (*_, stage) = base["stages"]
    few = {name: {**data, "n": 8} for name, data in base["data"].items()}
    stage = {
        **stage,
        "objective": objective,
        "max_steps": 4,
        "batch_size": 4,
        "accumulation": 1,
        "warmup": 0.0,
    }
    return load({**base, "data": few, "stages": [stage], "evaluation": [], **fields})


BOTH = ["next_token", {"name": "llava_kd", "weight": 0.5, "teacher": {"times": 2}}]


def test_a_recipe_trains_its_teacher_once_and_then_its_student(tmp_path):
    made = recipe(BOTH)
    result = run(made, tmp_path / "run", report=False)
    (stage,) = result.stages.values()
    assert set(stage["terms"]) == {"next_token", "response_kd", "visual_kd", "relation_kd"}
    own = teachers.recipe_of(TeacherConfig(times=2), made)
    folder = teachers.folder_of(own)
    assert own.stages[0].max_steps == 8 and own.seed == 0 and not teachers.named(own.stages[0])
    assert json.loads((folder / "stages" / own.stages[0].name / "done.json").read_text())["step"] == 8
    assert (folder / "model" / "model.safetensors").exists()
    begun = (folder / "starts.jsonl").read_text()
    other = recipe(BOTH, seed=5, name="again")
    assert teachers.place_of(TeacherConfig(times=2), other) == str(folder)
    assert (folder / "starts.jsonl").read_text() == begun
    # A finished run needs no teacher.
    import shutil

    shutil.rmtree(folder)
    assert run(made, tmp_path / "run", report=False).stages == result.stages
    assert not folder.exists()
    # The trained model carries no trace of it.
    assert result.load().model.config.to_dict().get("vitrail") in (None, {})


@pytest.mark.long
def test_a_run_is_a_teacher_by_its_folder(tmp_path):
    run(recipe("next_token"), tmp_path / "run", report=False)
    made = recipe({"name": "salt", "teacher": str(tmp_path / "run"), "n_kd": 2})
    (stage,) = run(made, tmp_path / "taught", report=False).stages.values()
    assert set(stage["terms"]) == {"next_token"}


def test_a_recipe_may_be_the_teacher_and_several_may_read_one_call(tmp_path):
    teacher = plain(recipe("next_token", name="large"))
    made = recipe([*BOTH[:1], {"name": "llava_kd", "teacher": {"recipe": teacher}, "beta": 0, "gamma": 0}])
    place = teachers.place_of(made.stages[0].objectives[1].config.teacher, made, QuietProgress())
    assert load(place).stages[0].max_steps == 4
    assert load(plain(made)) == made


@pytest.mark.parametrize("family", ["llava"])
def test_a_teacher_of_other_words_is_refused_before_the_data_is_read(family, tmp_path):
    other = families.save_family(family, tmp_path / family)
    made = recipe(["next_token", {"name": "llava_kd", "teacher": str(other)}])
    with pytest.raises(ValueError, match=r"stages\.0\.objective\.teacher: token \d+ is"):
        run(made, tmp_path / "run", report=False)
    missing = recipe(["next_token", {"name": "llava_kd", "teacher": str(tmp_path)}])
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        run(missing, tmp_path / "missing", report=False)


def test_a_teacher_has_no_teacher_and_needs_stages():
    nested = plain(recipe(BOTH))
    config = TeacherConfig(recipe=nested)
    with pytest.raises(ValueError, match="names a teacher itself"):
        teachers.recipe_of(config, recipe("next_token"))
    with pytest.raises(ValueError, match="has no stages"):
        teachers.recipe_of(TeacherConfig(recipe={**nested, "stages": []}), recipe("next_token"))


def test_several_processes_do_not_train_a_teacher(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="several processes cannot do so"):
        teachers.place_of(TeacherConfig(times=3), recipe(BOTH))


def test_the_recipe_of_the_documentation_is_one():
    import re
    from pathlib import Path

    import yaml

    text = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8")
    block = next(one for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if one.startswith("name:"))
    made = load(yaml.safe_load(block))
    assert [stage.name for stage in made.stages] == ["dpt", "sft", "dft"]
    assert [stage.trains for stage in made.stages] == [("connector",), *[("connector", "language")] * 2]
    assert [len(stage.objectives) for stage in made.stages] == [2, 1, 2]
    own = teachers.recipe_of(teachers.named(made.stages[0])[0], made)
    assert [stage.epochs for stage in own.stages] == [4, 4, 4]
    assert all(stage.objectives[0].name == "next_token" for stage in own.stages)


def test_a_plan_counts_the_teacher():
    def cost(objective):
        (stage,) = plan(recipe(objective), measure_speed=False).stages
        return stage

    alone = cost("next_token")
    kd = cost(["next_token", {"name": "llava_kd", "teacher": {"times": 2}}])
    words = cost(["next_token", {"name": "llava_kd", "teacher": {"times": 2}, "beta": 0}])
    half = cost({"name": "salt", "teacher": {"times": 2}, "n_kd": 2})
    always = cost({"name": "salt", "teacher": {"times": 2}, "decay": "never"})
    assert kd.objective == "next_token + llava_kd"
    assert (
        alone.flops_a_step < half.flops_a_step < always.flops_a_step == words.flops_a_step < kd.flops_a_step
    )
    assert half.flops_a_step - alone.flops_a_step == pytest.approx(
        (always.flops_a_step - alone.flops_a_step) / 2, rel=1e-6
    )
    weights = {one.memory["weights"] for one in (kd, half, always)}
    assert len(weights) == 1 and weights.pop() > 1.9 * alone.memory["weights"]

import pytest

from vitrail.recipes import loading
from vitrail.recipes.problems import RecipeError

TEXT = """\
name: mine
model:
  testbed: small
  connector:
    name: mlp
    pool: 4
data:
  scenes: {kind: scenes, n: 100}
  own: {kind: file, path: own.jsonl}
stages:
  - name: align
    data: scenes
    trains: [connector]
    max_steps: 10
evaluation:
  - {name: known, data: scenes}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


def fault(recipe, *overrides):
    with pytest.raises(RecipeError) as caught:
        loading.load(recipe, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "model.connector.pol=4",
            "override: model.connector.pol: there is no such field; did you mean 'pool'? (got 4)",
        ),
        ("model.connector.pool=-1", "override: model.connector.pool: must be greater than 0 (got -1)"),
        (
            "model.connector.name=mpl",
            "override: model.connector.name: no connector has this name; did you mean 'mlp'?",
        ),
        (
            "stages.0.learning_rat=1",
            "override: stages.0.learning_rat: there is no such field; did you mean 'learning_rate'",
        ),
        (
            "stages.align.data=scene",
            "override: stages.0.data: 'data' has no source of this name; did you mean 'scenes'",
        ),
        ("stages.0.max_steps=many", "override: stages.0.max_steps: must be a whole number (got 'many')"),
        ("stages.0.max_steps=null", "a stage needs a budget"),
        ("stages.0.objective=next_tokn", "did you mean 'next_token'"),
        ("stages.0.objective={name: next_token, z_los: 1}", "did you mean 'z_loss'"),
        (
            "data.scenes.kind=scene",
            "override: data.scenes.kind: must be one of scenes, scene_texts, file, puzzle, benchmark, composed, "
            "translations, facts, named_things, episodes, demonstrated, mixture, subset, relevant; "
            "did you mean 'scenes'?",
        ),
        (
            "data.scenes.fold=tset",
            "override: data.scenes.fold: must be one of train, development, test; did you",
        ),
        ("data.scenes=[]", "override: data.scenes: must be a mapping of fields (got [])"),
        ("stage.1.lr=3", "override: stage: there is no such field; did you mean 'stages'?"),
        (
            "model.testbed=smal",
            "override: model.testbed: must be one of small, nano, nano_pretrained; did you mean 'small'?",
        ),
        ("model.lora.r=0", "override: model.lora.r: must be greater than or equal to 1 (got 0)"),
        (
            "evaluation.0.conditions=[trainde]",
            "evaluation.0.conditions.0: must be one of trained, blind, untrained",
        ),
        ("evaluation.0.inferencer=likelyhood", "no inferencer has this name; did you mean 'likelihood'"),
        ("seed=x", "override: seed: must be a whole number (got 'x')"),
        ("seed=-1", "override: seed: must be greater than or equal to 0"),
        ("name=a/b", "override: name: "),
        ("stages.7.max_steps=1", "stages has 1 items, numbered from 0; there is no 7"),
    ],
)
def test_faults_say_path_value_and_remedy(file, override, said):
    assert said in fault(file, override)


def test_faults_of_a_file_name_its_lines(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        TEXT.replace("pool: 4", "pool: four").replace("n: 100", "m: 100").replace("steps: 10", "steps: 0")
    )
    said = fault(path).splitlines()
    assert said[0].startswith(f"{path}:6: model.connector.pool: must be a whole number")
    assert said[1].startswith(f"{path}:8: data.scenes.m: there is no such field")
    assert said[2].startswith(f"{path}:14: stages.0.max_steps: must be greater than or equal to 1")
    assert len(said) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT + "name: again\n", "r.yaml:17: the key 'name' stands twice (first on line 1)"),
        ("- a\n- b\n", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("name: x\n", "model: this field is required"),
        (TEXT.replace("  testbed: small\n", ""), "model.language: this field is required unless"),
        (
            TEXT.replace("testbed: small", "testbed: small\n  path: x"),
            "model.connector: a ready model ('path')",
        ),
        (TEXT + "  - {name: known, data: own}\n", "evaluation.0 has the same name; give each its own"),
    ],
)
def test_whole_files_that_are_refused(tmp_path, text, said):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        loading.load(path)
    assert said in str(caught.value)


def test_what_is_shown_reads_back_equal(file, tmp_path):
    recipe = loading.load(
        file, ["model.lora={}", "model.connector.pool=null", "model.connector.cell_embedding=false"]
    )
    shown = loading.dump(recipe)
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert loading.load(again) == recipe
    assert "pool: null" in shown  # None is no default there
    assert loading.load(loading.plain(recipe)) == recipe
    assert loading.load(recipe, {"seed": 4}).seed == 4 and recipe.seed == 0


def test_relative_paths_belong_to_the_file(file, tmp_path, monkeypatch):
    assert loading.load(file).data["own"].path == str(tmp_path / "own.jsonl")
    monkeypatch.chdir(tmp_path)
    assert loading.load("mine.yaml", ["data.own.path=x/y.jsonl"]).data["own"].path == "x/y.jsonl"


def test_so_do_those_of_teachers(tmp_path):
    inner = "{name: large, model: {testbed: nano}, data: {own: {kind: file, path: big.jsonl}}, stages: []}"
    teachers = ["./large", "org/large", "{path: ../large}", "{recipe: large.yaml}", "{recipe: nano}"]
    teachers.append(f"{{recipe: {inner}}}")
    lines = ["name: mine", "model: {testbed: nano}", "data: {own: {kind: file, path: own.jsonl}}", "stages:"]
    for number, teacher in enumerate(teachers):
        objective = f"[next_token, {{name: llava_kd, teacher: {teacher}}}]"
        lines.append(f"- {{name: s{number}, data: own, max_steps: 1, objective: {objective}}}")
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    stages = loading.load(tmp_path / "mine.yaml").stages
    found = [stage.objectives[1].config.teacher for stage in stages]
    assert [one.path for one in found[:3]] == [f"{tmp_path}/large", "org/large", f"{tmp_path}/../large"]
    assert [one.recipe for one in found[3:5]] == [f"{tmp_path}/large.yaml", "nano"]
    assert found[5].recipe["data"]["own"]["path"] == f"{tmp_path}/big.jsonl"


@pytest.mark.parametrize("name", ["house-nano", "nano", "quickstart", "own-data", "tune"])
def test_shipped_recipes_are_right(name):
    recipe = loading.load(name)
    assert recipe.name == name and loading.shipped()[name] == recipe.about
    assert loading.load(loading.plain(recipe)) == recipe


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'quickstart'"):
        loading.load("quikstart")
    (tmp_path / "mine.yaml").write_text(TEXT)
    with pytest.raises(ValueError, match=r"did you mean '.*mine\.yaml'"):
        loading.load(tmp_path / "mime.yaml")


def test_schema_knows_components(tmp_path):
    import json

    from vitrail.recipes.schema import json_schema

    schema = json_schema()
    text = json.dumps(schema)
    definitions = schema["$defs"]
    for reference in set(__import__("re").findall(r'"#/\$defs/([^"]+)"', text)):
        assert reference in definitions
    connectors = definitions["Connector"]["anyOf"]
    assert {"type": "string", "enum": ["mlp", "ovis", "resampler"]} in connectors
    assert any("pool" in one.get("properties", {}) for one in connectors)

import pytest

from vitrail.recipes import overrides

RECIPE = {
    "seed": 0,
    "model": {"connector": {"name": "mlp"}},
    "stages": [{"name": "align"}, {"name": "tune", "lr": 1}],
}


def changed(*words):
    return overrides.apply(RECIPE, words)[0]


def test_paths_positions_and_names():
    assert changed("seed=1")["seed"] == 1
    assert changed("stages.1.lr=1e-3")["stages"][1]["lr"] == 0.001
    assert changed("stages.tune.lr=2")["stages"][1]["lr"] == 2
    assert changed("model.lora={r: 8}")["model"]["lora"] == {"r": 8}
    assert changed("model.lora.r=8")["model"]["lora"] == {"r": 8}
    assert changed("stages=[]")["stages"] == []
    assert changed("seed=1", "seed=2")["seed"] == 2


def test_the_original_stays():
    changed("model.connector.name=other", "stages.0.name=x")
    assert RECIPE["model"]["connector"]["name"] == "mlp" and RECIPE["stages"][0]["name"] == "align"


def test_mapping_of_python_values():
    recipe, touched = overrides.apply(RECIPE, {"stages.tune.lr": (1, 2), "seed": 5})
    assert recipe["stages"][1]["lr"] == (1, 2) and touched == {("stages", 1, "lr"), ("seed",)}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed", "write it as key=value"),
        ("=1", "write it as key=value"),
        ("a b=1", "write it as key=value"),
        ("seed=[1", "the value is not YAML"),
        ("stages.7.lr=1", "stages has 2 items, numbered from 0; there is no 7"),
        ("stages.tone.lr=1", "did you mean 'tune'"),
        ("seed.x=1", "seed is 0, which has nothing inside"),
    ],
)
def test_errors_name_the_path_and_the_nearest(word, said):
    with pytest.raises(ValueError, match=said):
        changed(word)

"""``vitrail export``: one folder or one sentence."""

from __future__ import annotations

import json

import pytest

from vitrail.models.testbeds import nano


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    nano.build(connector={"name": "mlp", "norm": False, "pool": None, "cell_embedding": False}).save(folder)
    return folder


def test_export_says_what_it_does_and_what_it_wrote(model, run, tmp_path):
    words = ("export", model, tmp_path / "out", "--to", "hf-llava", "--no-verify")
    code, out, err = run(*words)
    assert code == 0, err
    assert "not compared (--no-verify)" in out and f"{tmp_path}/out: " in out and "writing Llava" in err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "llava"
    code, _, err = run(*words)
    assert code == 2 and "is there already" in err
    found = json.loads(run(*words[:2], tmp_path / "again", *words[3:], "--json")[1])
    assert found["to"] == "hf-llava" and "model.safetensors" in found["files"]


def test_what_is_wrong_is_one_sentence(model, run, tmp_path):
    code, _, err = run("export", model, tmp_path / "out", "--to", "gguf")
    assert code == 2 and "hf-llava" in err
    code, _, err = run("export", model, tmp_path / "out")
    assert code == 2 and "--to" in err
    code, _, err = run("export", model, tmp_path / "out", "--to", "merged")
    assert code == 2 and "nothing to fold in" in err and not (tmp_path / "out").exists()
    code, _, err = run("export", tmp_path, tmp_path / "out", "--to", "merged")
    assert code == 2 and "holds no config.json" in err
    code, _, err = run("export", model, tmp_path / "out", "--to", "hf-llava", "--max-shard-size", "big")
    assert code == 2 and "max_shard_size is 'big'" in err

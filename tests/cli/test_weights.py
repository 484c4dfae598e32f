"""``vitrail weights``: add and diff on folders."""

from __future__ import annotations

import json

import pytest

import families
from checkpoints import copied, moved
from vitrail.cli.main import main
from vitrail.models.weights.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    base = families.save_family("llava", root / "base")
    tuned, refreshed = copied(base, root / "tuned"), copied(base, root / "refreshed")
    moved(tuned, seed=1)
    moved(refreshed, seed=2)
    return base, tuned, refreshed


def said(words, capsys):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_diff_tells_by_module_and_keeps_the_difference(folders, tmp_path, capsys):
    base, tuned, _ = folders
    code, out, _ = said(["weights", "diff", tuned, base, tmp_path / "delta", "--depth", 1], capsys)
    assert code == 0 and "language_model" in out and "vision_tower" in out and "all" in out
    code, out, _ = said(["weights", "diff", tuned, base, "--json", "--only", "language_model"], capsys)
    told = json.loads(out)
    assert code == 0 and told["modules"][-1]["module"] == "all" and 0 < told["modules"][-1]["relative"] < 1
    code, out, _ = said(["weights", "add", base, tmp_path / "sum", "--delta", tmp_path / "delta"], capsys)
    assert code == 0 and "73 of 73 tensors changed" in out


def test_add_restores_and_says_what_changed(folders, tmp_path, capsys):
    base, tuned, refreshed = folders
    words = ["weights", "add", base, tmp_path / "sum", "--residual", tuned, base, "--json"]
    code, out, _ = said(words, capsys)
    told = json.loads(out)
    assert code == 0 and told["changed"] == told["tensors"] and told["notes"] == []
    assert Checkpoint.open(tmp_path / "sum").fingerprint == Checkpoint.open(tuned).fingerprint
    words = [
        "weights",
        "add",
        refreshed,
        tmp_path / "part",
        "--residual",
        tuned,
        base,
        "--only",
        "language_model",
    ]
    code, out, _ = said([*words, "--scale", "0.5"], capsys)
    assert code == 0 and "tensors changed" in out and "73 of" not in out


def test_what_is_wrong_is_one_sentence(folders, tmp_path, capsys):
    base, tuned, _ = folders
    code, _, err = said(["weights", "add", base, base, "--residual", tuned, base], capsys)
    assert code == 2 and "is there already" in err
    code, _, err = said(["weights", "add", base, tmp_path / "out"], capsys)
    assert code == 2 and "nothing is added" in err
    words = ["weights", "add", base, tmp_path / "out", "--delta", "x", "--only", "y"]
    code, _, err = said(words, capsys)
    assert code == 2 and "--only and --exclude go with --residual" in err
    code, _, err = said(["weights", "diff", tmp_path, base], capsys)
    assert code == 2 and "holds no config.json" in err

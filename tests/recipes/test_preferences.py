"""A recipe that trains on preferences with DPO, from a file of chosen and rejected answers."""

import json
import math

import pytest

from conftest import picture
from vitrail.recipes import loading
from vitrail.recipes.run import run

PAIRS = [("What is one and one?", "two", "a green apple"), ("Say a colour.", "red", "seven of them")]


def recipe(folder, **stage):
    rows = [
        {
            "kind": "chat",
            "id": str(number),
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": better}],
            "rejected": [{"role": "assistant", "content": worse}],
        }
        for number, (question, better, worse) in enumerate(PAIRS)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "name": "preferences",
        "model": {"testbed": "nano", "connector": "mlp"},
        "data": {"pairs": {"kind": "file", "path": str(folder / "pairs.jsonl")}},
        "stages": [
            {
                "name": "dpo",
                "data": "pairs",
                "objective": "dpo",
                "trains": ["language"],
                "batch_size": 2,
                "max_steps": 6,
                "warmup": 0,
                "schedule": "constant",
                "learning_rate": 1e-3,
                **stage,
            }
        ],
    }


def test_a_stage_of_dpo_begins_at_log_two_and_learns(tmp_path):
    run(loading.load(recipe(tmp_path)), tmp_path / "run", device="cpu")
    lines = (tmp_path / "run/stages/dpo/metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line)["terms"] for line in lines]
    assert rows[0]["dpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert rows[-1]["dpo"] < rows[0]["dpo"] and rows[-1]["dpo_accuracy"] == 1


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_other_families_learn_preferences_about_pictures(family, saved_family, tmp_path):
    made = recipe(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.png").write_bytes(picture(seed=number).bytes)
        question = row["messages"][0]["content"]
        row["messages"][0]["content"] = [
            {"type": "image", "path": f"{number}.png"},
            {"type": "text", "text": question},
        ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made["model"] = {"path": str(saved_family(family))}
    made["stages"][0] |= {"max_steps": 4, "learning_rate": 1e-2}
    run(loading.load(made), tmp_path / "run", device="cpu")
    lines = (tmp_path / "run/stages/dpo/metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["terms"]["dpo"] for line in lines]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4) and losses[-1] < losses[0]


def test_a_row_without_a_rejected_answer_is_named(tmp_path):
    made = recipe(tmp_path)
    path = tmp_path / "pairs.jsonl"
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    del second["rejected"]
    path.write_text("\n".join(map(json.dumps, (first, second))))
    with pytest.raises(ValueError, match=r"record 1 .*rejected"):
        run(loading.load(made), tmp_path / "run", device="cpu")


def test_other_objectives_do_not_read_preferences(tmp_path):
    mixed = recipe(tmp_path, objective=["dpo", "next_token"])
    with pytest.raises(ValueError, match="do not go with others"):
        run(loading.load(mixed), tmp_path / "run", device="cpu")

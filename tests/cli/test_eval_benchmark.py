"""``vitrail eval`` on benchmarks: official files in, official score out, and what else one can ask of answers."""

from __future__ import annotations

import json

import pytest

from official_files import mmr, mmr_pair, seed_bench, seed_row
from vitrail.evaluation import score
from vitrail.evaluation.score_tables import official_table
from vitrail.recipes.loading import load
from vitrail.recipes.sources import open_data


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A saved nano model, and two benchmarks' files."""
    from vitrail.models.testbeds import nano

    folder = tmp_path_factory.mktemp("bench")
    nano.build(seed=0).save(folder / "model")
    seed_bench(
        folder / "seed", [seed_row(n) for n in range(6)] + [seed_row(9, data_id="gone", data_type="none")]
    )
    mmr(folder / "mmr", [*mmr_pair("attribute/shape/01"), *mmr_pair("context/expert/02")])
    return folder


def asking(place, *words):
    """The command that asks the model SEED-Bench's questions."""
    asked = ("--benchmark", "seed_bench", "--data", place / "seed", "--out", place / "out")
    return ("eval", place / "model", *asked, *words)


def test_an_official_score_with_its_baselines_and_what_it_covers(place, run):
    words = asking(place)
    code, out, err = run(*words, "--also", "side-16", "--submission", place / "results.json")
    assert code == 0, err
    assert "overall" in out and "random" in out and "majority" in out and "blind" in out and "side-16" in out
    assert "trained: covers 6 of 7 rows, 1 left out" in out and "'gone' is missing" in err
    assert len((place / "results.json").read_text().splitlines()) == 6
    found = json.loads(run(*words, "--json")[1])["seed_bench"]
    assert found["trained"]["official"]["answered"] == 6 and found["blind"]["official"]["left_out"] == 1
    files = place / "out" / "seed_bench"
    again = json.loads(run("eval", "score", files / "trained.jsonl", "--json")[1])
    assert again["seed_bench"]["trained"] == found["trained"], "scored again without asking"
    code, out, _ = run("eval", "audit", files / "trained.jsonl")
    assert code == 0 and "blind gap" in out and "answer balance" in out
    submitted = (
        place / "results.json",
        "--benchmark",
        "seed_bench",
        "--data",
        place / "seed",
        "--out",
        place / "in",
    )
    imported = json.loads(run("eval", "import", *submitted, "--json")[1])["seed_bench-imported"]["results"]
    assert imported["right"] == found["trained"]["right"], "the submission says what was answered"
    few = json.loads(run(*words, "--json", "--limit", 2, "--name", "few", "--no-blind", "task=image")[1])
    assert few["few"]["trained"]["n"] == 2


def test_circular_and_another_mode(place, run):
    words = (
        "eval",
        place / "model",
        "--benchmark",
        "seed_bench",
        "--data",
        place / "seed",
        "--out",
        place / "out",
    )
    code, out, err = run(*words, "--circular", "--no-blind", "--mode", "letter-ranking")
    assert code == 0 and "circular" in out and "under every rotation" in out, err
    code, _, err = run(*words[:4], "--data", place / "mmr", "--circular")
    assert code == 2 and "holds none of SEED-Bench.json" in err
    code, _, err = run("eval", place / "model", "--benchmark", "mmr", "--data", place / "mmr", "--circular")
    assert code == 2 and "cannot be rotated" in err


def test_what_is_wrong_is_one_sentence(place, run):
    model = place / "model"
    for words, said in (
        (("--benchmark", "seed_bench"), "needs --data DIR"),
        (("--benchmark", "seed_bnch", "--data", place), "did you mean 'seed_bench'"),
        (("--benchmark", "seed_bench", "--data", place / "seed", "--mode", "rank"), "did you mean 'ranking'"),
        (("--benchmark", "seed_bench", "--data", place / "seed", "tsk=image"), "tsk"),
        (("--benchmark", "offline_scenes", "--data", place), "needs no --data"),
        (("--mode", "letters"), "--mode goes with --benchmark"),
        (("--suite", "offline", "--data", place), "--data belongs to one of them"),
        (("--desiderata", "calibration"), "give --data FILE"),
    ):
        code, _, err = run("eval", model, *words)
        assert code == 2 and said in err, (words, err)


def test_desiderata_of_a_benchmark(place, run):
    words = (
        "eval",
        place / "model",
        "--benchmark",
        "seed_bench",
        "--data",
        place / "seed",
        "--out",
        place / "out",
    )
    code, out, err = run(*words, "--desiderata", "calibration,instruction_following")
    assert code == 0 and "ECE" in out and "match ratio" in out, err
    code, _, err = run(*words, "--desiderata", "hallucination")
    assert code == 2 and "offline_presence" in err


def test_the_offline_suite_needs_no_files(place, run, monkeypatch):
    monkeypatch.setattr("vitrail.evaluation.benchmarks.offline.SUITE", ("offline_text_rich",))
    code, out, err = run(
        "eval", place / "model", "--suite", "offline", "--out", place / "off", "n=4", "side=64"
    )
    assert code == 0 and "average of types" in out and "covers 4 of 4 rows" in out, err


def test_the_list_says_what_is_untested(run):
    code, out, _ = run("eval", "list")
    assert code == 0 and "seed_bench" in out and "vqa_v2" not in out
    assert "vqa_v2" in run("eval", "list", "--all")[1]
    code, out, _ = run("eval", "list", "mmr", "pope")
    assert "abilities are untested by mmr, pope" in out
    found = json.loads(run("eval", "list", "--need", "ocr,video", "--json")[1])
    assert found["chosen"] and not found["unmet"]
    assert run("eval", "list", "mmrr")[0] == 2 and run("eval", "list", "--samples", 3)[0] == 2


def test_a_recipe_asks_a_benchmark(place, run):
    (place / "r.yaml").write_text(
        "name: r\nmodel: {testbed: nano}\ndata:\n"
        f"  asked: {{kind: benchmark, benchmark: seed_bench, path: {place / 'seed'}}}\n"
        "evaluation:\n  - {name: seed, data: asked, inferencer: {name: likelihood, normalise: token}}\n"
    )
    recipe = load(place / "r.yaml")
    source = open_data(recipe, "asked", "questions")
    assert len(source) == 6 and source.benchmark == "seed_bench"
    (place / "s.yaml").write_text(
        (place / "r.yaml").read_text()
        + "stages:\n  - {name: tune, data: asked, trains: [connector], max_steps: 1}\n"
    )
    code, _, err = run("train", place / "s.yaml", "--run", place / "run")
    assert code == 2 and "a benchmark is asked, not trained on" in err
    (place / "t.yaml").write_text((place / "r.yaml").read_text().replace("seed_bench,", "seed_bnch,"))
    code, _, err = run("recipe", "show", place / "t.yaml")
    assert code == 2 and "did you mean 'seed_bench'" in err


def test_a_report_shows_the_official_score(place, run):
    """What :mod:`vitrail.recipes.report` makes of scores, without plots."""
    assert run(*asking(place))[0] == 0
    answers = place / "out" / "seed_bench" / "trained.jsonl"
    table, notice = official_table("seed", {"trained": score(answers)})
    assert "overall" in table.html() and "random" in table.html() and "6 of 7 rows" in notice.html()
    assert official_table("seed", {}) == []

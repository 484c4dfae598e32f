"""A benchmark of several pictures, ranked by texts, by letters and written out, on families of Hugging Face models."""

from __future__ import annotations

import pytest

from official_files import TEXTS, mibench, mibench_row, seed_2_row, seed_bench_2
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.mibench import MIBench
from vitrail.evaluation.benchmarks.seed_bench_2 import SeedBench2
from vitrail.models.loading import load

FAMILIES = ("llava", "qwen2_5_vl", "smolvlm")


@pytest.mark.parametrize("name", FAMILIES)
def test_several_pictures_in_place(name, saved_family, tmp_path):
    bundle = load(saved_family(name))
    pictures = [f"task23/{n}.jpg" for n in range(2)]
    rows = [
        seed_2_row(0, 1),
        seed_2_row(1, 23, data_id=pictures, question="<img> one. <img>"),
        seed_2_row(2, 25, data_id=[f"task25/{n}.jpg" for n in range(4)], question="Draw it."),
    ]
    folder = seed_bench_2(tmp_path / "two", rows)
    scenario = {"name": "benchmark", "benchmark": "seed_bench_2", "path": str(folder)}
    ranked = Task(name="ranked", scenario=scenario, **SeedBench2.parts("ranking"))
    official = score(run_task(ranked, bundle, tmp_path)).official
    assert official.answered == 2 and official.not_run == ("Text-to-Image Generation",), official.reasons
    shown = {**scenario, "settings": {"candidates": "shown"}}
    letters = Task(name="letters", scenario=shown, **SeedBench2.parts("letter-ranking"))
    assert score(run_task(letters, bundle, tmp_path)).official.answered == 3
    other = run_task(ranked, bundle, tmp_path / "one by one", batch_size=1)
    for one, two in zip(
        read_answers(tmp_path / "ranked" / "trained.jsonl").rows, read_answers(other).rows, strict=True
    ):
        assert one["values"] == pytest.approx(two["values"], abs=1e-4)


def test_an_answer_in_words(saved_family, tmp_path):
    folder = mibench(tmp_path / "mi", [mibench_row(0)])
    scenario = {"name": "benchmark", "benchmark": "mibench", "path": str(folder)}
    parts = {**MIBench.parts("containment"), "inferencer": {"name": "generate", "max_new_tokens": 2}}
    found = score(
        run_task(Task(name="mi", scenario=scenario, **parts), load(saved_family("qwen2_5_vl")), tmp_path)
    )
    assert found.overall.n == 4 == len(TEXTS) and found.official.answered == 1

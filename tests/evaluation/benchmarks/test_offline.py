"""Benchmarks that need no files: each runs on a nano model, and a planted weakness moves its own ability alone."""

from __future__ import annotations

import pytest

from vitrail import registry
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.offline import SUITE
from vitrail.evaluation.figures import with_baselines

SMALL = {"n": 8, "suite": "nano-scenes-v1"}


def settings(name):
    return {"n": 6, "side": 48} if name == "offline_text_rich" else dict(SMALL)


@pytest.mark.parametrize("name", SUITE)
def test_a_composed_benchmark_has_an_official_score(nano, tmp_path, name):
    benchmark = registry.get("benchmark", name)
    scenario = {"name": "benchmark", "benchmark": name, "settings": settings(name)}
    task = Task(name=name, scenario=scenario, **benchmark.parts(None))
    official = score(run_task(task, nano, tmp_path)).official
    assert official.answered == official.rows == settings(name)["n"] and official.left_out == 0, (
        official.coverage
    )
    assert official.figures[0].random is not None


def answered(source, right):
    return [
        {
            "id": one.id,
            "kind": one.meta["kind"],
            "cluster": one.meta["picture"],
            "groups": one.meta.get("groups", {}),
            "options": [part.text for (part,) in one.choices.options],
            "answer": one.choices.answer,
            "correct": right(one),
        }
        for one in source
    ]


@pytest.mark.parametrize(
    ("name", "weak", "moved"),
    [
        ("offline_scenes", lambda one: one.meta["kind"] == "count", {"overall", "count"}),
        ("offline_leading", lambda one: one.id.endswith("NEG"), {"RA", "MR", "accuracy NEG"}),
        ("offline_text_rich", lambda one: one.meta["kind"] == "map", {"average of types", "pooled", "map"}),
    ],
)
def test_a_planted_weakness_moves_its_own_figures_alone(name, weak, moved):
    benchmark = registry.get("benchmark", name)
    given = {**settings(name), "n": 24}
    source = benchmark(benchmark.Config(**given)).source()
    whole = {
        one.name: one.value for one in with_baselines(benchmark.figures, answered(source, lambda _: True))
    }
    hurt = {one.name: one.value for one in benchmark.figures(answered(source, lambda one: not weak(one)))}
    changed = {figure for figure in whole if whole[figure] != hurt[figure]}
    assert moved <= changed
    own = changed - moved
    assert all(figure.startswith(("map:",)) or figure.endswith(("RA", "MR")) for figure in own), own

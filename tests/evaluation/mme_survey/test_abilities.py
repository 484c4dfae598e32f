"""Dimensions of benchmarks belong to leaves of the taxonomy, each to one."""

from __future__ import annotations

from vitrail import registry
from vitrail.evaluation.benchmarks import seed_bench, seed_bench_2
from vitrail.evaluation.mme_survey.abilities import ability_of, by_ability, dimensions
from vitrail.evaluation.mme_survey.catalogue import read
from vitrail.evaluation.mme_survey.taxonomy import LEAVES


def test_every_named_dimension_is_one_of_a_benchmark_we_have():
    assert set(dimensions().values()) <= set(LEAVES)
    assert {benchmark for benchmark, _ in dimensions()} <= set(registry.names("benchmark"))
    for name, known in (("seed_bench", seed_bench.DIMENSIONS), ("seed_bench_2", seed_bench_2.DIMENSIONS)):
        assert {kind for benchmark, kind in dimensions() if benchmark == name} <= set(known.values())


def test_a_dimension_has_its_leaf_or_that_of_its_benchmark():
    assert ability_of("seed_bench", "Text Understanding") == "foundation/ocr"
    assert ability_of("seed_bench", "Visual Reasoning") == "foundation/comprehensive"
    assert ability_of("seed_bench_2", "Emotion Recognition") == "extended/emotion"
    assert ability_of("mine", "what") is None and ability_of(None, "what") is None
    for entry in read():
        if entry.loader:
            assert ability_of(entry.loader, "of no name") == entry.path


def test_rows_by_ability_stand_in_the_order_of_the_taxonomy():
    rows = [{"kind": "Action Recognition"}, {"kind": "Text Understanding"}, {"kind": "Action Prediction"}]
    found = by_ability("seed_bench", rows)
    assert {leaf: len(some) for leaf, some in found.items()} == {"foundation/ocr": 1, "foundation/video": 2}
    assert list(found) == ["foundation/ocr", "foundation/video"] and by_ability("mine", rows) == {}

"""The catalogue of benchmarks: valid records, filters in any order, coverage, recommendations, loaders that import."""

from __future__ import annotations

import itertools

import pytest

from vitrail import registry
from vitrail.evaluation.mme_survey.catalogue import Catalogue, entry_of, read
from vitrail.evaluation.mme_survey.taxonomy import LEAVES, TAXONOMY, about

ROW = {
    "id": "mine", "name": "Mine", "year": "2024", "path": "foundation/ocr", "modalities": "image", "format": "choice",
    "judge": "script", "metrics": "accuracy",
}  # fmt: skip


def test_every_leaf_is_reachable_and_counts_add_up():
    catalogue = read()
    counts = catalogue.counts()
    assert all(counts.get(leaf) for leaf in LEAVES) and all(about(leaf) for leaf in LEAVES)
    assert counts["all"] == sum(counts[top] for top in TAXONOMY) == sum(counts[leaf] for leaf in LEAVES)


def test_all_that_is_implemented_is_listed_and_imports():
    loaders = {entry.loader for entry in read() if entry.loader}
    assert loaders == set(registry.names("benchmark"))
    for name in loaders:
        assert registry.get("benchmark", name).name == name
    assert all(entry.verified == (entry.loader is not None) for entry in read())


def test_filters_compose_in_any_order():
    steps = ({"capability": "foundation"}, {"modality": "video"}, {"judge": "script"})
    found = set()
    for order in itertools.permutations(steps):
        some = read()
        for step in order:
            some = some.filter(**step)
        found.add(tuple(sorted(some.entries)))
    assert len(found) == 1 and found.pop()
    for wrong in ({"capability": "ocrr"}, {"modality": "smell"}, {"judge": "dice"}):
        with pytest.raises(ValueError, match="is "):
            read().filter(**wrong)


def test_coverage_tells_what_is_untested():
    covered = read().coverage(["mmr", "pope"])
    assert covered["self_analysis/hallucination"] == ("mmr", "pope")
    missing = read().missing(["mmr", "pope"])
    assert "foundation/video" in missing and "self_analysis/hallucination" not in missing
    with pytest.raises(ValueError, match="did you mean 'mmr'"):
        read().missing(["mmrr"])


def test_recommendations_cover_the_need_or_say_what_cannot_be_met():
    found = read().recommend(["ocr", "video", "hallucination"], runnable=True)
    chosen = [one for one, _ in found.chosen]
    covered = {leaf for one in chosen for leaf in read().entries[one].paths}
    assert {
        "foundation/ocr",
        "foundation/video",
        "self_analysis/hallucination",
    } <= covered and not found.unmet
    small = read().recommend(["foundation/video"], samples=100)
    assert small.unmet == ("foundation/video",) and not small.chosen
    with pytest.raises(ValueError, match="need is empty"):
        read().recommend([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "foundation/smell"}, "path is 'foundation/smell'"),
        ({"judge": "dice"}, "judge is 'dice'"),
        ({"chance": "3"}, "chance"),
        ({"colour": "red"}, "colour"),
        ({"format": "choise"}, "did you mean 'choice'"),
    ],
)
def test_wrong_records_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        entry_of({**ROW, **change})


def test_ids_are_unique():
    with pytest.raises(ValueError, match="has 'mine' twice"):
        Catalogue([entry_of(ROW), entry_of(ROW)])

"""The study of the stability gap: equal tokens, the rules one by one, and the gap off the probes."""

import pytest

from vitrail.recipes.loading import load
from vitrail.recipes.mixing import tree
from vitrail.recipes.sources import open_data
from vitrail.recipes.subsets import said
from vitrail.storage.log import JsonlLog
from vitrail.storage.runs import RunFolder
from vitrail.studies import stability_gap
from vitrail.studies.declaring import study


@pytest.fixture(scope="module")
def design():
    return study("stability_gap").design("nano")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))


def test_arms_differ_in_what_the_last_stage_reads(design):
    base = design.control.recipe
    for arm in design.arms:
        assert arm.recipe["stages"][0] == base["stages"][0]
        assert {**arm.recipe["stages"][1], "data": None} == {**base["stages"][1], "data": None}
        assert arm.recipe["stages"][1]["packing"]["length"] == stability_gap.ROWS["packing"]
    assert not design.same_data


def test_the_method_keeps_the_old_proportions_with_the_domain_in_the_web_s_place(design):
    shares = tree(load(dict(design.methods[0].recipe)), "kept")
    assert dict(zip(shares.leaves(), shares.leaf_shares(), strict=True)) == pytest.approx(
        {"sums": stability_gap.SUMS, "chosen": stability_gap.WEB}
    )


def test_the_best_part_is_more_of_the_domain_than_the_corpus_is(design):
    few = {"data.domain.n": 32, "data.beside.n": 24, "data.noise.n": 24, "data.clean.n": 64}
    recipe = load(load(dict(design.methods[0].recipe)), few)
    domain = {said(record) for record in open_data(recipe, "domain", "conversations")}
    chosen = [said(record) for record in open_data(recipe, "chosen", "conversations")]
    assert 0 < len(chosen) < 40 and sum(text in domain for text in chosen) / len(chosen) > 0.5


def test_the_gap_is_read_off_the_probes(tmp_path):
    folder = RunFolder(tmp_path).stage("domain")
    folder.mkdir(parents=True)
    log = JsonlLog(folder / "probes.jsonl")
    for step, (web, right) in enumerate([(1.0, 0.5), (1.4, 0.4), (1.2, 0.45), (0.9, 0.52)]):
        row = {
            "web-held": {"loss": web},
            "sums-held": {"loss": 1.0, "right": right},
            "domain-held": {"loss": 2.0},
        }
        log.append({"step": step, **row})
    log.close()
    found = stability_gap.gaps(RunFolder(tmp_path), None)
    assert found["web_gap"] == pytest.approx(0.4) and found["web_recovered"] == 1.0
    assert found["sums_gap"] == pytest.approx(0.1) and found["domain_final"] == 2.0

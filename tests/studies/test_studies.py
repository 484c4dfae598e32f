"""The studies that are declared, their evidence, and what is said about them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pretended_cells import pretended
from vitrail.papers import paper, read
from vitrail.papers.evidence import read_file
from vitrail.recipes.loading import load, plain
from vitrail.studies import execution
from vitrail.studies.declaring import studies, study
from vitrail.studies.design import Association
from vitrail.studies.engine import Comparison, engine
from vitrail.studies.evidence import verify, write
from vitrail.studies.planted import WHOLE, Planted
from vitrail.studies.report import write_report

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", studies())
def test_every_study_states_its_claim(name):
    made = study(name)
    entry = paper(name)
    assert made.paper == name and entry.state == "built"
    assert made.delta > 0 and made.published and made.expected and made.claim.endswith(".")
    for testbed in made.designs:
        design = made.design(testbed)
        assert design.kind == made.kind and design.delta == made.delta and made.minutes.get(testbed, 1) > 0
        fixed = json.loads(json.dumps(design.fixed(), allow_nan=False))
        first = contrast_of(design)
        assert fixed["primary"] == list(first)


@pytest.mark.parametrize("name", studies())
def test_every_arm_can_be_written_whole_and_read_again(name):
    """A run writes its recipe with all that was left to defaults, and is read from there."""
    made = study(name)
    for testbed in made.designs:
        for arm in made.design(testbed).arms:
            whole = plain(load(arm.recipe))
            assert plain(load(whole)) == whole


def contrast_of(design):
    """The names of what the verdict is about."""
    if isinstance(design, Association):
        return design.x.name, design.y.name
    if isinstance(design, Planted):
        return WHOLE, design.control.name
    return design.methods[0].name, design.control.name


def test_a_study_that_is_not_there():
    with pytest.raises(ValueError, match="there is no study of 'ovsi'; did you mean 'ovis'"):
        study("ovsi")
    without = next(one.id for one in read().values() if one.id not in studies())
    with pytest.raises(ValueError, match=f"{without} has no study yet"):
        study(without)
    with pytest.raises(ValueError, match="has no testbed 'large'; it has nano"):
        study("ovis").design("large")


@pytest.fixture
def outcome(tmp_path, monkeypatch):
    """A study's mock with cells that cost nothing."""
    made = study("ee_mllm")
    monkeypatch.setattr(execution, "run_cell", renamed(pretended(gain=0.0)))
    found = Comparison(whole(made), tmp_path / "run", inline=True).run()
    return made, found, tmp_path / "run"


def whole(made):
    """The design of a mock with pairs enough for a verdict."""
    return replace(made.design("nano", mock=True), seeds=8, mock=False)


def renamed(run_cell):
    def run(one, *rest, **named):
        result = run_cell(one, *rest, **named)
        return {**result, "stages": dict.fromkeys(("align", "tune"), result["stages"]["tune"])}

    return run


def test_evidence_is_what_the_catalogue_reads(outcome, tmp_path):
    made, found, _ = outcome
    path = write(made, found, tmp_path / "evidence")
    assert path == tmp_path / "evidence" / "ee_mllm" / "nano.json"
    read = read_file(path)
    first = found["contrasts"][0]
    assert (read.paper, read.testbed, read.verdict) == ("ee_mllm", "nano", first["verdict"])
    assert read.interval == tuple(first["interval"]) and read.n == first["n"] == 8
    assert read.claim_kind == "non-inferiority" and read.scope["parameters"] == 1000
    assert {cell["arm"] for cell in read.cells} >= {"ordinary attention", "composite attention"}


def test_one_pair_is_measured_again(outcome, tmp_path, monkeypatch):
    made, found, _ = outcome
    evidence = json.loads(write(made, found, tmp_path / "evidence").read_text())
    design = whole(made)
    monkeypatch.setattr(type(made), "design", lambda self, testbed, mock=False: design)
    same = verify(made, evidence, tmp_path / "again", inline=True)
    assert same["equal"] and same["within"] and same["same_machine"]
    evidence["environment"]["threads"] = 12  # of the process that wrote it; its cells had their own
    for cell in evidence["cells"]:
        cell["score"] += 1e-9
    other = verify(made, evidence, tmp_path / "third", inline=True)
    assert not other["equal"] and other["within"] and other["same_machine"]
    evidence["environment"]["cores"] = 12
    assert not verify(made, evidence, tmp_path / "fourth", inline=True)["same_machine"]


def test_the_report_shows_effect_rule_and_costs(outcome):
    _, found, folder = outcome
    page = write_report(folder).read_text()
    for text in (
        found["rule"],
        "composite attention",
        "Difference from the control",
        "float32",
        found["contrasts"][0]["verdict"],
    ):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    with pytest.raises(ValueError, match="has no outcome yet"):
        write_report(folder / "cells")


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "evidence").glob("*/*.json")), ids=lambda path: path.parent.name
)
def test_committed_evidence_belongs_to_the_study_as_it_is(path):
    """The rule, arms and lengths in the file are those that the study would fix today."""
    evidence = json.loads(path.read_text())
    made = study(path.parent.name)
    design = made.design(path.stem)
    assert evidence["rule"] == design.rule.sentence() and evidence["delta"] == design.delta
    assert evidence["contrasts"][0]["method"] == contrast_of(design)[0]
    assert evidence["claim_kind"] == made.kind
    assert set(evidence["arms"]) == {arm.name for arm in design.arms} - not_run(evidence, design)
    if len(evidence["arms"]) == 1:  # a control that has learnt too little
        assert evidence["verdict"] == "not testable here" and evidence["n"] == 0
        assert len(evidence["cells"]) == design.seeds >= 8
        return
    assert evidence["n"] >= 8
    if isinstance(design, Association):
        assert len(evidence["points"]) == evidence["n"]
    else:
        assert len(evidence["contrasts"][0]["differences"]) == evidence["n"]


def not_run(evidence, design):
    """Arms of planted weaknesses that could not be lost: nothing was measured of them."""
    if not isinstance(design, Planted):
        return set()
    names = {arm.name for arm in design.methods} - set(evidence["arms"])
    rows = {row["method"].split(",")[0]: row for row in evidence["contrasts"]}
    pairs = zip(design.abilities, design.methods, strict=True)
    for row in (rows[ability.name] for ability, arm in pairs if arm.name in names):
        assert row["verdict"] == "not testable here" and row["n"] == 0 and row["effect"] is None
    return names


@pytest.mark.long
@pytest.mark.parametrize("name", studies())
def test_a_mock_runs_whole(name, tmp_path):
    design = study(name).design("nano", mock=True)
    found = engine(design, tmp_path, inline=True).run()
    first = found["contrasts"][0]
    assert first["verdict"] == "not testable here" and "a mock runs" in first["why"]
    assert set(found["arms"]) == {arm.name for arm in design.arms}

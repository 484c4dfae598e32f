"""An association over arms: fixed, resumed, judged, told, measured again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from pretended_cells import pretended
from vitrail.cli.compare import print_outcome
from vitrail.cli.paper_text import evidence_lines
from vitrail.papers.evidence import read_file
from vitrail.recipes.loading import load, plain
from vitrail.studies import execution
from vitrail.studies.arms import Arm, changed
from vitrail.studies.association import differ
from vitrail.studies.declaring import Study, studies, study
from vitrail.studies.design import Association, Figure
from vitrail.studies.engine import Comparison, engine
from vitrail.studies.evidence import verify, write
from vitrail.studies.report import write_report

ARMS = 8
X, Y = Figure("distance", "probe.distance", -1), Figure("accuracy", "score")


@pytest.fixture(scope="module")
def base():
    found = plain(load("nano", {"stages.tune.max_steps": 3, "data.known.n": 12, "data.scenes.n": 16}))
    first = {"name": "align", "data": "captions", "trains": ["connector"], "max_steps": 2, "batch_size": 4}
    found["data"]["captions"] = {**found["data"]["scenes"], "n": 8}
    found["stages"] = [first, *found["stages"]]
    return plain(load(found))


@pytest.fixture(scope="module")
def points(base):
    return tuple(
        Arm(f"{steps} steps", changed(base, {"set": {"stages.align.max_steps": steps}}), probe="m:f@align")
        for steps in range(1, ARMS + 1)
    )


def design(points, **settings):
    settings = {"evaluation": "known", "delta": 0.3, "alike": ("tune",), **settings}
    indicators = (Figure("loss", "loss.align", -1),)
    return Association("distance with accuracy", points, X, Y, indicators=indicators, **settings)


def cells(slope=0.05, noise=0.005, level=0.4):
    """Cells whose score and distance go with the steps of their first stage."""
    made = pretended(noise=0.0)

    def run_cell(one, *rest, **named):
        found = made(one, *rest, **named)
        steps = one.recipe["stages"][0]["max_steps"]
        draw = np.random.default_rng(int(one.identity, 16)).normal(0, noise, 3)
        score = level + slope * steps + draw[0]
        by_kind = {"what": {"score": score, "n": 10}}
        probe = {"distance": 3 - 0.1 * steps + draw[1]}
        loss = {"align": 2 + 0.01 * ((5 * steps) % 8) + draw[2], "tune": 1.0}
        return {**found, "score": score, "by_kind": by_kind, "probe": probe, "loss": loss}

    run_cell.calls = made.calls
    return run_cell


@pytest.fixture
def fast(monkeypatch):
    made = cells()
    monkeypatch.setattr(execution, "run_cell", made)
    return made


def run(made, folder, **settings):
    return engine(made, folder, inline=True, **settings).run()


def test_from_arms_to_a_verdict(points, fast, tmp_path):
    found = run(design(points), tmp_path)
    first = found["contrasts"][0]
    assert (first["method"], first["control"], first["n"]) == ("distance", "accuracy", ARMS)
    assert first["verdict"] == "seen" and first["effect"] == pytest.approx(1.0) and not first["harm"]
    assert len(fast.calls) == 3 * ARMS and {one.role for one in fast.calls} == {"primary"}
    assert {one.probe for one in fast.calls} == {"m:f@align"}
    assert {(one.seed, one.draw) for one in fast.calls} == {(1, 1), (2, 2), (3, 3)}
    assert {one.recipe["data"]["asked"]["fold"] for one in fast.calls} == {"test"}
    assert [one["arm"] for one in found["points"]] == [arm.name for arm in points]
    assert found["scope"]["arms"] == ARMS and found["scope"]["seeds"] == 3
    assert json.loads((tmp_path / "outcome.json").read_text()) == found


def test_indicators_are_held_beside_it(points, fast, tmp_path):
    found = run(design(points), tmp_path)
    own, loss = found["indicators"]
    assert own["name"] == "distance" and own["effect"] == found["contrasts"][0]["effect"]
    rows = found["points"]
    expected = -spearmanr([one["loss"] for one in rows], [one["accuracy"] for one in rows]).statistic
    assert loss["effect"] == pytest.approx(expected)
    assert loss["x ahead"]["effect"] == pytest.approx(1 - expected)


def test_the_other_way_is_said(points, monkeypatch, tmp_path):
    monkeypatch.setattr(execution, "run_cell", cells(slope=-0.02, level=0.6))
    first = run(design(points), tmp_path)["contrasts"][0]
    assert first["verdict"] == "not seen" and first["harm"]
    write_report(tmp_path)
    assert "it goes the other way" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"slope": 0.0, "noise": 0.02}, "arms do not differ in accuracy by more than their seeds do"),
        ({"slope": 0.001, "noise": 1e-4, "level": 0.2}, "no arm is surely above guessing"),
    ],
)
def test_gates(points, monkeypatch, tmp_path, settings, why):
    monkeypatch.setattr(execution, "run_cell", cells(**settings))
    first = run(design(points), tmp_path)["contrasts"][0]
    assert first["verdict"] == "not testable here" and why in first["why"] and first["effect"] is not None


def test_arms_that_are_the_same_have_no_rank():
    assert differ([[1.0, 1.0], [1.0, 1.0]]) == 1.0 and differ([[1.0, 1.0], [2.0, 2.0]]) == 0.0
    generator = np.random.default_rng(0)
    share = np.mean([differ(generator.normal(size=(8, 3)).tolist()) < 0.05 for _ in range(400)])
    assert 0.02 < share < 0.09


def test_killed_and_started_again(points, fast, monkeypatch, tmp_path):
    whole = run(design(points), tmp_path / "whole")

    def failing(one, *rest, **named):
        if one.arm == "4 steps" and one.draw == 2:
            raise KeyboardInterrupt
        return fast(one, *rest, **named)

    monkeypatch.setattr(execution, "run_cell", failing)
    with pytest.raises(KeyboardInterrupt):
        run(design(points), tmp_path / "killed")
    monkeypatch.setattr(execution, "run_cell", fast)
    before = len(fast.calls)
    assert run(design(points), tmp_path / "killed") == whole
    assert len(fast.calls) - before == 3 * ARMS - (ARMS + 3)
    assert (
        run(design(points), tmp_path / "killed") == whole and len(fast.calls) == before + 3 * ARMS - ARMS - 3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": 0.5}, "delta: 0.3 then, 0.5 now"),
        ({"x": replace(X, sign=1)}, "figures.distance.1: -1 then, 1 now"),
        ({"x": replace(X, field="probe.other")}, "figures.distance.0: 'probe.distance' then"),
    ],
)
def test_a_rule_does_not_change_when_cells_exist(points, fast, tmp_path, change, message):
    run(design(points), tmp_path)
    with pytest.raises(ValueError, match=message):
        run(replace(design(points), **change), tmp_path)


def test_time_that_ends_too_early_gives_no_verdict(points, fast, monkeypatch, tmp_path):
    made = engine(design(points), tmp_path, inline=True)
    until = iter([float("inf")])
    monkeypatch.setattr(made, "_until", lambda: next(until) - 1 if fast.calls else 0.0)
    first = made.run()["contrasts"][0]
    assert first["verdict"] == "not testable here" and "when 0 of 8 arms were done" in first["why"]
    assert run(design(points), tmp_path)["contrasts"][0]["verdict"] == "seen"


def test_evidence_report_and_a_second_measurement(points, fast, tmp_path, monkeypatch, capsys):
    made = Study("mir", "A claim.", "a figure", "association", 0.3, "capability", "above zero",
                 {"nano": lambda: design(points)}, {})  # fmt: skip
    whole = made.design("nano")
    found = run(whole, tmp_path / "run")
    path = write(made, found, tmp_path / "evidence")
    read = read_file(path)
    assert (read.verdict, read.unit, read.n, read.claim_kind) == (
        "seen",
        "rank correlation",
        ARMS,
        "association",
    )
    assert read.effect == found["contrasts"][0]["effect"]
    assert f"{ARMS} arms" in evidence_lines(read)[0]
    evidence = json.loads(path.read_text())
    assert len(evidence["points"]) == ARMS and evidence["indicators"][1]["name"] == "loss"
    same = verify(made, evidence, tmp_path / "again", inline=True)
    assert same["equal"] and same["within"] and same["same_machine"] and len(same["scores"]) == 4
    for cell in evidence["cells"]:
        cell["probe"]["distance"] += 1e-9
    other = verify(made, evidence, tmp_path / "third", inline=True)
    assert not other["equal"] and other["within"]
    for cell in evidence["cells"]:
        cell["score"] += 0.5
    assert not verify(made, evidence, tmp_path / "fourth", inline=True)["within"]
    page = write_report(tmp_path / "run").read_text()
    for text in ("distance with accuracy", "rank correlation", "7 steps", "distance ahead by", found["rule"]):
        assert text in page
    print_outcome(found)
    said = capsys.readouterr().out
    assert "SEEN" in said and "rank correlation" in said and "loss" in said and "points)" not in said


def test_a_law_may_bring_its_own_fit(points, fast, tmp_path):
    from vitrail.statistics.intervals import mean_t

    def slope(x, y, level):
        return mean_t([float(np.polyfit(*pair, 1)[0]) for pair in zip(zip(*x), zip(*y))], level)  # noqa: B905

    found = run(design(points, kind="scaling law", delta=0.1, fit=slope), tmp_path)
    assert found["contrasts"][0]["effect"] == pytest.approx(-0.5, abs=0.1) and found["indicators"] == []


def test_a_design_that_is_none(points, base):
    with pytest.raises(ValueError, match="there are 7 arms; a verdict needs 8"):
        design(points[:7])
    with pytest.raises(ValueError, match="two arms are called '1 steps'"):
        design((*points, points[0]))
    with pytest.raises(ValueError, match="seeds is 2; each arm needs 3"):
        design(points, seeds=2)
    with pytest.raises(ValueError, match="over arms there are 'association' and 'scaling law'"):
        design(points, kind="superiority")
    longer = Arm("longer", changed(base, {"set": {"stages.tune.max_steps": 9}}))
    with pytest.raises(ValueError, match="max_steps of stage 'tune' is 9 for longer and 3 for 1 steps"):
        design((*points, longer))
    other = Arm("other", changed(base, {"set": {"data.scenes.n": 9}}))
    with pytest.raises(ValueError, match=r"data of stage .tune. is .* for other"):
        design((*points, other))
    with pytest.raises(ValueError, match="has no stage 'tuen', which has to be the same"):
        design(points, alike=("tuen",))
    with pytest.raises(ValueError, match=r"has no 'probe.mir': beside 'mir' there is distance"):
        Figure("x", "probe.mir").of({"probe": {"distance": 1.0}})


def test_each_design_has_its_engine(points, base, tmp_path):
    assert not isinstance(engine(design(points), tmp_path), Comparison)


def seen(run, bundle):
    """A probe: which model it gets."""
    return {"weights": float(sum(p.double().sum() for p in bundle.model.parameters()))}


def test_a_probe_gets_the_model_of_its_stage(base, tmp_path):
    """Real cells: between the stages, at the end, and what is left in the folder."""
    from vitrail.recipes.run import run as run_recipe
    from vitrail.studies.setting_up import cell

    def weights(probe):
        one = cell(Arm("a", base, probe=probe), "primary", evaluation="known", draw=1, precision="float32")
        return one, execution.run_cell(one, tmp_path / probe.replace(":", "-"), threads=1)["probe"]["weights"]

    one, first = weights(f"{__name__}:seen@align")
    _, last = weights(f"{__name__}:seen")
    alone = load({**dict(one.recipe), "stages": one.recipe["stages"][:1]})
    made = run_recipe(alone, tmp_path / "alone", device="cpu", report=False).load()
    assert first == seen(None, made)["weights"] != last
    assert not list(tmp_path.glob("test_association-seen*/**/*.safetensors"))


def test_studies_are_found_by_what_they_declare():
    assert {"mir", "ovis"} <= set(studies()) and not {"engine", "association", "declaring"} & set(studies())


def test_the_study_of_mir_says_what_it_needs():
    made = study("mir").design("nano")
    assert made.kind == "association" and len(made.points) == 12 and made.x.sign == -1
    assert {arm.probe for arm in made.arms} == {"vitrail.studies.mir:indicators@align"}


@pytest.mark.long
def test_the_mock_of_mir_runs_whole(tmp_path):
    found = run(study("mir").design("nano", mock=True), tmp_path)
    assert found["contrasts"][0]["why"].startswith("a mock runs")
    assert all(np.isfinite(one["MIR"]) and one["perplexity"] > 1 for one in found["points"])

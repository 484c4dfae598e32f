"""Planted weaknesses: arms that differ in one ability's records, judged on every ability."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pretended_cells import pretended
from vitrail.cli.compare import print_outcome
from vitrail.papers.evidence import read_file
from vitrail.recipes.loading import load, plain
from vitrail.recipes.sources import open_data
from vitrail.studies import execution, planted_run
from vitrail.studies.declaring import studies, study
from vitrail.studies.engine import engine
from vitrail.studies.evidence import verify, write
from vitrail.studies.house import EVALUATION
from vitrail.studies.planted import WHOLE, Ability, Planted, planted, weaknesses
from vitrail.studies.planted_run import PlantedRun
from vitrail.studies.report import write_report
from vitrail.studies.setting_up import cell

ABILITIES = tuple(Ability(kind, "offline_scenes", (kind,)) for kind in ("what", "colour", "count"))
UNTAUGHT = {"where": "on the development fold the control answers no better than by guessing"}


def design(**settings):
    return planted(
        "seed_bench", ABILITIES, **{"n": 6, "questions": 4, "seeds": 8, "untaught": UNTAUGHT, **settings}
    )


def cells(learnt=0.8, lost=0.5, spreads=(), floor=()):
    """Cells of scores by kind: an ability that was left out loses ``lost``; those in ``spreads`` lose it everywhere."""
    made = pretended()

    def run_cell(one, *rest, **named):
        found = made(one, *rest, **named)
        draws = np.random.default_rng(int(one.identity, 16))
        kinds = {}
        for ability in ABILITIES:
            right = 0.25 if ability.name in floor else learnt
            gone = ability.name in one.arm or (ability.name in spreads and one.arm != "all")
            score = right - lost * gone + draws.normal(0, 0.02)
            kinds[ability.name] = {"score": float(score), "n": 40, "chance": 0.25}
        score = float(np.mean([one["score"] for one in kinds.values()]))
        stages = dict.fromkeys(("align", "tune"), found["stages"]["tune"])
        return {**found, "by_kind": kinds, "score": score, "stages": stages}

    return run_cell


def outcome(tmp_path, monkeypatch, made=None, **how):
    monkeypatch.setattr(execution, "run_cell", cells(**how))
    found = engine(made or design(), tmp_path / "run", inline=True).run()
    whole, *rest = found["contrasts"]
    return found, whole, {one["method"].split(",")[0]: one for one in rest}


def test_arms_differ_in_one_abilitys_records_alone():
    made = design()
    control, *arms = (load(arm.recipe) for arm in made.arms)
    for ability, arm in zip(ABILITIES, arms, strict=True):
        assert arm.stages == control.stages and arm.model == control.model
        assert set(control.data) - set(arm.data) == {ability.name} and set(arm.data) - set(control.data) == {
            "other"
        }
        same = set(control.data) - {ability.name, "taught"}
        assert all(arm.data[name] == control.data[name] for name in same)
        assert arm.data["other"].n == control.data[ability.name].n and arm.data["other"].kind == "scene_texts"
        records = open_data(arm, "taught", "conversations")
        asked = {record.meta.get("kind") for record in records}
        assert ability.name not in asked and len(records) == len(
            open_data(control, "taught", "conversations")
        )


def test_what_others_are_taught_is_the_same_record_by_record():
    control, _, arm, _ = (load(arm.recipe) for arm in design().arms)
    for name in ("what", "count"):
        ours, theirs = open_data(control, name, "conversations"), open_data(arm, name, "conversations")
        assert [one.id for one in ours] == [one.id for one in theirs]
        assert all(one.meta["fold"] == "train" for one in ours)


def test_any_recipe_can_be_the_base():
    base = plain(load("nano"))
    made = design(base=base, tune={"learning_rate": 1e-4})
    assert [arm.recipe["model"] for arm in made.arms] == [base["model"]] * 4
    *before, last = base["stages"]
    assert [*made.control.recipe["stages"][:-1]] == before
    assert made.control.recipe["stages"][-1] == {**last, "data": "taught", "learning_rate": 1e-4}


def test_a_cell_asks_the_test_fold_and_draws_anew():
    made = design()
    cells = [cell(made.control, "primary", evaluation=EVALUATION, draw=draw) for draw in (1, 2)]
    for one, draw in zip(cells, (1, 2), strict=True):
        recipe = load(dict(one.recipe))
        asked = open_data(recipe, "asked", "questions")
        assert len(asked) == 12 and {record.meta["fold"] for record in asked} == {"test"}
        assert {record.meta["seed"] for record in asked} == {draw}
        assert {record.meta["seed"] for record in open_data(recipe, "taught", "conversations")} == {draw}


def test_isolated_weaknesses_are_seen(tmp_path, monkeypatch, capsys):
    found, whole, by_name = outcome(tmp_path, monkeypatch)
    assert whole["method"] == WHOLE and whole["verdict"] == "seen" and not whole["why"]
    assert {name: one["verdict"] for name, one in by_name.items()} == {
        "what": "seen", "colour": "seen", "count": "seen", "where": "not testable here"
    }  # fmt: skip
    for name in ("what", "colour", "count"):
        assert by_name[name]["effect"] == pytest.approx(0.5, abs=0.05) and by_name[name]["p"] <= 0.025
        still = [move["effect"] for other, move in by_name[name]["moves"].items() if other != name]
        assert len(still) == 2 and max(map(abs, still)) < 0.05
    assert whole["effect"] == min(by_name[name]["effect"] for name in ("what", "colour", "count"))
    assert by_name["where"]["why"] == UNTAUGHT["where"]
    print_outcome(found)
    assert "count, lost where it was left out" in capsys.readouterr().out
    page = write_report(tmp_path / "run").read_text()
    assert "What each ability lost" in page and "without colour" in page


def test_a_weakness_that_spreads_is_not_seen(tmp_path, monkeypatch):
    _, whole, by_name = outcome(tmp_path, monkeypatch, spreads=("count",))
    assert by_name["count"]["verdict"] == "seen" and whole["verdict"] == "not seen"
    assert by_name["what"]["verdict"] == "not seen" and "count moved as well" in by_name["what"]["why"]
    assert "what: count moved as well" in whole["why"]


def test_what_does_not_fall_is_not_seen(tmp_path, monkeypatch):
    _, whole, by_name = outcome(tmp_path, monkeypatch, lost=0.02)
    assert whole["verdict"] == "not seen" and {one["verdict"] for one in by_name.values()} == {
        "not seen", "not testable here"
    }  # fmt: skip


def test_an_ability_at_the_floor_is_not_testable_and_counts_for_no_other(tmp_path, monkeypatch):
    _, whole, by_name = outcome(tmp_path, monkeypatch, floor=("count",))
    assert by_name["count"]["verdict"] == "not testable here" and "at the floor" in by_name["count"]["why"]
    assert whole["verdict"] == "seen" and set(by_name["what"]["moves"]) == {"what", "colour"}


def test_one_ability_alone_cannot_be_isolated(tmp_path, monkeypatch):
    _, whole, by_name = outcome(tmp_path, monkeypatch, floor=("count", "what"))
    assert {whole["verdict"], *(one["verdict"] for one in by_name.values())} == {"not testable here"}
    assert "fewer than two abilities" in by_name["colour"]["why"]
    assert whole["effect"] is None and not whole["differences"] and whole["n"] == 0


@pytest.mark.parametrize(("floor", "arms"), [((), 3), (("count",), 2), (("count", "what"), 0)])
def test_what_cannot_be_lost_is_not_run(tmp_path, monkeypatch, floor, arms):
    """The control comes first; a report, evidence and its repetition do without the arms that are not there."""
    made = weaknesses("seed_bench", "It is noticed.", "nothing", design, {})
    found, whole, by_name = outcome(tmp_path, monkeypatch, made.design("nano"), floor=floor)
    assert len(found["cells"]) == 8 * (1 + arms) and not {f"without {name}" for name in floor} & set(
        found["arms"]
    )
    assert all(by_name[name]["effect"] is None and by_name[name]["n"] == 0 for name in floor)
    assert "not testable here" in write_report(tmp_path / "run").read_text()
    path = write(made, found, tmp_path / "evidence")
    assert read_file(path).verdict == whole["verdict"] == ("seen" if arms else "not testable here")
    again = verify(made, json.loads(path.read_text()), tmp_path / "again", inline=True)
    assert again["equal"] and again["within"] and len(again["scores"]) == (2 if arms else 1)


def test_under_a_budget_of_time_pairs_come_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "run_cell", cells(floor=("count", "what")))
    whole, *_ = engine(design(), tmp_path / "run", inline=True, seconds=600.0).run()["contrasts"]
    assert len(whole["differences"]) == whole["n"] == 8 and whole["verdict"] == "not testable here"


def test_evidence_is_read_and_measured_again(tmp_path, monkeypatch):
    made = weaknesses("seed_bench", "It is noticed.", "nothing", design, {})
    found, whole, _ = outcome(tmp_path, monkeypatch, made.design("nano"))
    path = write(made, found, tmp_path / "evidence")
    read = read_file(path)
    assert (read.verdict, read.n, read.effect) == ("seen", 8, whole["effect"])
    again = verify(made, json.loads(path.read_text()), tmp_path / "again", inline=True)
    assert again["equal"] and again["within"]


def test_a_mock_gives_no_verdict(tmp_path, monkeypatch):
    made = weaknesses("seed_bench", "It is noticed.", "nothing", design, {}).design("nano", mock=True)
    assert isinstance(engine(made, tmp_path / "x"), PlantedRun)
    _, whole, by_name = outcome(tmp_path, monkeypatch, made)
    assert "a mock runs 1 pair" in whole["why"] and len(by_name) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda made: replace(made, abilities=made.abilities[:2]), "2 abilities and 3 arms"),
        (lambda made: replace(made, abilities=(*ABILITIES[:2], ABILITIES[0])), "'what' of question is of two"),
        (lambda made: planted_run.share(Ability("when", "offline_sequences", ("when",)), {"by_kind": {"what": {}}}),
         "nobody asked about when"),
        (lambda made: planted("x", [Ability("aligned", "offline_scenes", ("what",)), *ABILITIES[1:]], n=4, questions=4),
         "the ability 'aligned' bears the name"),
    ],
)  # fmt: skip
def test_what_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(design())


DECLARED = [name for name in studies() if isinstance(study(name).design("nano"), Planted)]


@pytest.mark.parametrize("name", DECLARED)
def test_every_suite_can_be_taught_and_asked(name):
    """Each ability's questions are there in the train and in the test fold, of its kinds alone, with options."""
    for ability in study(name).design("nano").abilities:
        for fold in ("train", "test"):
            recipe = load({"name": "x", "model": {"testbed": "nano"}, "data": {"one": ability.data(fold, 4)}})
            records = list(open_data(recipe, "one", "questions"))
            assert {record.meta["kind"] for record in records} <= set(ability.kinds)
            assert all(record.choices.answer is not None for record in records)

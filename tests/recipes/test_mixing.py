import json
import shutil

import numpy as np
import pytest

from vitrail.recipes.loading import dump, load
from vitrail.recipes.mixing import tree
from vitrail.recipes.problems import RecipeError
from vitrail.recipes.run import run
from vitrail.recipes.sources import open_data
from vitrail.recipes.training_run import trained_model
from vitrail.storage.runs import RunFolder
from vitrail.training.following import read_shares
from vitrail.training.progress import QuietProgress


def scenes(kinds, n=24, **changes):
    return {"kind": "scenes", "suite": "nano-scenes-v1", "kinds": [kinds], "n": n, "turns": [1, 1], **changes}


def recipe(**changes):
    base = {
        "name": "mixed",
        "model": {"testbed": "nano"},
        "data": {
            "what": scenes("what"),
            "where": scenes("where", 12),
            "count": scenes("count"),
            "what-held": scenes("what", 8, fold="development"),
            "where-held": scenes("where", 8, fold="development"),
            "questions": {"kind": "mixture", "sources": {"what": 1, "where": 3}},
            "all": {"kind": "mixture", "sources": {"questions": 0.5, "count": 0.5}},
        },
        "stages": [stage()],
    }
    return {**base, **changes}


def stage(**changes):
    settings = {
        "name": "tune",
        "data": "all",
        "trains": ["connector", "language"],
        "batch_size": 8,
        "max_steps": 4,
    }
    return {"learning_rate": 3e-3, "precision": "float32", "checkpoint_minutes": None, **settings, **changes}


def skill_it(**changes):
    rule = {"name": "skill_it", "graph": [[1, 0], [0.5, 1]], "every": 2, "records": 8, **changes}
    return {"kind": "mixture", "sources": {"what": 1, "where": 1}, "rule": rule}


def following(**changes):
    data = recipe()["data"]
    return recipe(data={**data, "all": skill_it(**changes)}, stages=[stage(max_steps=6)])


def seen(folder):
    """Which kinds of question the steps of a run were made of."""
    return [
        json.loads(line) for line in (folder / "stages" / "tune" / "metrics.jsonl").read_text().splitlines()
    ]


class Listener(QuietProgress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_a_nested_mixture_is_a_tree_and_a_source_in_its_shares():
    made = load(recipe())
    assert tree(made, "all").leaf_shares() == pytest.approx([0.125, 0.375, 0.5])
    source = open_data(made, "all", "conversations")
    kinds = [record.meta["kinds"][0] for record in source]
    assert len(source) == 60 and kinds[:8].count("count") == 4 and kinds.count("where") in (22, 23)
    assert source.fingerprint == open_data(load(recipe()), "all", "conversations").fingerprint
    assert load(dump_and_read(made)) == made


def dump_and_read(made):
    from vitrail.recipes.yaml_text import parse

    return parse(dump(made), "x").value


def test_without_shares_sizes_decide():
    data = {**recipe()["data"], "all": {"kind": "mixture", "sources": ["what", "where"]}}
    source = open_data(load(recipe(data=data)), "all", "conversations")
    kinds = [record.meta["kinds"][0] for record in source]
    assert kinds.count("what") == 24 and kinds.count("where") == 12
    warm = {"name": "fixed", "temperature": 100.0}
    data["all"] = {"kind": "mixture", "sources": ["what", "where"], "rule": warm, "n": 40}
    source = open_data(load(recipe(data=data)), "all", "conversations")
    assert [record.meta["kinds"][0] for record in source].count("where") == 20


def trained(made, folder, listener=None):
    with RunFolder(folder).writing({}, lambda stored: stored) as opened:
        bundle = trained_model(load(made), opened, listener or QuietProgress(), "cpu")
    return {name: value.clone() for name, value in bundle.model.state_dict().items()}


def test_a_stage_trains_on_it_and_says_its_tree(tmp_path):
    listener = Listener()
    trained(recipe(), tmp_path / "a", listener)
    assert any("├─  50.0 %  questions" in text and "12 records" in text for text in listener.notes)
    trained(recipe(stages=[stage(workers=1)]), tmp_path / "b")
    losses = [[row["loss"] for row in seen(tmp_path / name)] for name in ("a", "b")]
    assert losses[0] == losses[1]


def test_packed_rows_hold_it_too(tmp_path):
    trained(recipe(stages=[stage(packing=256, batch_size=2)]), tmp_path / "a")
    assert seen(tmp_path / "a")[-1]["samples"] > 8


def test_a_mixture_follows_losses_whatever_the_workers_and_resumes_exactly(tmp_path, monkeypatch):
    from vitrail.training import following as room

    whole = trained(following(), tmp_path / "whole")
    rows = read_shares(tmp_path / "whole" / "stages" / "tune")
    assert [row["step"] for row in rows] == [0, 2, 4, 6] and set(rows[1]["losses"]) == {"what", "where"}
    expected = np.exp(0.5 * np.array([[1, 0], [0.5, 1]]) @ np.array(list(rows[1]["losses"].values())))
    assert list(rows[1]["shares"].values()) == pytest.approx(list(expected / expected.sum()))
    with_workers = following()
    with_workers["stages"][0]["workers"] = 2
    trained(with_workers, tmp_path / "workers")
    assert losses(tmp_path / "workers") == losses(tmp_path / "whole")

    killed = following()
    killed["stages"][0]["checkpoint_steps"] = 3
    after = room.Follower.after_step

    def dies(self, trainer, step, last):
        after(self, trainer, step, last)
        if step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(room.Follower, "after_step", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(killed, tmp_path / "killed")
    monkeypatch.setattr(room.Follower, "after_step", after)
    resumed = trained(killed, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert read_shares(tmp_path / "killed" / "stages" / "tune") == rows
    assert all((value == resumed[name]).all() for name, value in whole.items())


def losses(folder):
    return [row["loss"] for row in seen(folder)]


def test_held_out_losses_can_be_followed(tmp_path):
    made = following(evaluate=["what-held", "where-held"], targets=["where-held"])
    trained(made, tmp_path / "a")
    rows = read_shares(tmp_path / "a" / "stages" / "tune")
    assert set(rows[1]["losses"]) == {"where-held"} and rows[1]["shares"]["where"] > rows[1]["shares"]["what"]


def test_a_kept_mixture_reads_the_domain_in_place_of_what_is_replaced():
    data = recipe()["data"]
    data["all"] = {
        "kind": "mixture",
        "sources": {"web": 0.5, "count": 0.25, "where": 0.25, "what": 0.0},
        "rule": {"name": "kept", "replace": ["web"], "by": "what"},
    }
    made = load(recipe(data=data))
    assert tree(made, "all").leaves() == ["count", "where", "what"]
    kinds = [record.meta["kinds"][0] for record in open_data(made, "all", "conversations")]
    assert kinds.count("what") == len(kinds) // 2


def test_a_whole_run_plans_trains_and_asks_a_mixture(tmp_path):
    data = {**recipe()["data"], "asked": {"kind": "mixture", "sources": ["what-held", "where-held"]}}
    asked = [{"name": "asked", "data": "asked", "conditions": ["trained"]}]
    result = run(
        load(recipe(data=data, evaluation=asked, stages=[stage(max_steps=1)])), tmp_path / "r", report=False
    )
    assert result.scores["asked"]["trained"]["n"] == 16


@pytest.mark.parametrize(
    "sources, message",
    [
        (
            {"what": 1, "wher": 1},
            "data.all.sources.wher: 'data' has no source of this name; did you mean 'where'",
        ),
        ({"what": 1, "where": -1}, "data.all.sources.where: must be a finite number of 0 or more"),
        ({"what": 1, "where": 0}, "data.all.sources.where: a share of 0 is never drawn"),
        ({"what": 0, "where": 0}, "nothing to draw"),
        ({"what": 1, "where": None}, "give every source a share, or none"),
        ({"what": 1, "all": 1}, "it contains itself: all → all"),
        ({"what": 1, "questions": 1}, "'what' is in it twice"),
        ({}, "data.all.sources"),
    ],
)
def test_shares_that_cannot_be_are_refused_when_the_recipe_is_read(sources, message):
    data = {**recipe()["data"], "all": {"kind": "mixture", "sources": sources}}
    with pytest.raises(RecipeError, match=message.replace(".", r"\.").replace("?", r"\?")):
        load(recipe(data=data))


@pytest.mark.parametrize(
    "rule, stages, message",
    [
        ({"graph": [[1, 0]]}, {}, "needs a row for each training skill"),
        ({"window": 0}, {}, "window"),
        ({"every": 4}, {}, "'all' changes every 4 steps; give a multiple of it, not 6"),
        ({}, {"packing": 256}, "is not packed"),
        ({}, {"epochs": 1, "max_steps": None}, "give max_steps alone"),
        ({"evaluate": ["what", "nowhere"]}, {}, "'data' has no source of this name"),
        ({"eta": -1}, {}, "eta"),
        ({"name": "skillit"}, {}, "did you mean 'skill_it'"),
    ],
)
@pytest.mark.filterwarnings("ignore:hardly")
def test_rules_and_stages_that_do_not_go_together_are_refused(rule, stages, message):
    data = {**recipe()["data"], "all": skill_it(**rule)}
    with pytest.raises(RecipeError, match=message):
        load(recipe(data=data, stages=[stage(**{"max_steps": 6, **stages})]))


def test_a_mixture_that_follows_losses_can_only_be_the_outermost():
    data = {**recipe()["data"], "questions": skill_it()}
    with pytest.raises(RecipeError, match="can only be the outermost"):
        load(recipe(data=data))


def test_an_empty_source_is_refused(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    data = recipe()["data"]
    data["count"] = {"kind": "file", "path": str(tmp_path / "none.jsonl")}
    with pytest.raises(ValueError, match=r"data\.count|none\.jsonl"):
        open_data(load(recipe(data=data)), "all", "conversations")
    shutil.rmtree(tmp_path)


def test_a_plan_and_the_shown_recipe_draw_the_tree(tmp_path, capsys):
    from vitrail.cli.main import main
    from vitrail.recipes.plan import plan
    from vitrail.recipes.yaml_text import dump as dump_plain

    planned = plan(load(recipe()), measure_speed=False, measure_memory=False)
    assert len(planned.mixtures) == 1
    lines = planned.mixtures[0].splitlines()
    assert (
        lines[1].startswith("├─  50.0 %  questions")
        and "75.0 %, 37.5 % of all  where  (12 records" in lines[3]
    )
    by_size = recipe()["data"] | {"all": {"kind": "mixture", "sources": ["what", "where"]}}
    sized = plan(load(recipe(data=by_size)), measure_speed=False, measure_memory=False)
    assert "├─  66.7 %  what  (24 records, about" in sized.mixtures[0]
    assert (
        plan(load(recipe(stages=[stage(data="what")])), measure_speed=False, measure_memory=False).mixtures
        == []
    )

    (tmp_path / "mine.yaml").write_text(dump_plain(recipe(data=by_size)))
    assert main(["recipe", "show", str(tmp_path / "mine.yaml")]) == 0
    shown = capsys.readouterr().out
    assert (
        "# └─  50.0 %  where" in shown and "# all: shares follow sizes ('vitrail plan' knows them)" in shown
    )
    (tmp_path / "again.yaml").write_text(shown)
    assert load(tmp_path / "again.yaml") == load(tmp_path / "mine.yaml")

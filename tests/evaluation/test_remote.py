"""A model at an address is evaluated as the same model here: same answers, same score, nothing asked twice."""

from __future__ import annotations

import json

import pytest

from endpoint import NAME, served
from official_files import seed_bench, seed_row
from vitrail.evaluation import Task
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.benchmark import LETTER
from vitrail.evaluation.remote import RemoteModel
from vitrail.evaluation.run import run_task
from vitrail.inference.remote import BudgetSpent, RemoteAnswerer, RemoteSettings


def remote(server, tmp_path, **settings):
    chosen = RemoteSettings(base_url=server.url, model=NAME, **settings)
    return RemoteModel(RemoteAnswerer(chosen, cache=tmp_path / "cache", ledger=tmp_path / "spent.jsonl"))


@pytest.fixture
def task(tmp_path):
    rows = [seed_row(n) for n in range(5)]
    scenario = {
        "name": "benchmark",
        "benchmark": "seed_bench",
        "path": str(seed_bench(tmp_path / "data", rows)),
    }
    return Task.model_validate({"name": "seed", "scenario": scenario, **LETTER})


def test_the_same_answers_as_here(nano, task, tmp_path):
    with served(nano) as server:
        path = run_task(task, remote(server, tmp_path), tmp_path / "there")
    there, here = read_answers(path), read_answers(run_task(task, nano, tmp_path / "here"))
    told = ("id", "text", "finished", "prediction", "correct", "parsed")
    assert [{name: row[name] for name in told} for row in there.rows] == [
        {name: row[name] for name in told} for row in here.rows
    ]
    assert there.header["fingerprints"]["scenario"] == here.header["fingerprints"]["scenario"]
    assert there.header["fingerprints"]["model"] != here.header["fingerprints"]["model"]


def test_a_spent_budget_goes_on_where_it_stopped(nano, task, tmp_path):
    with served(nano) as server:
        with pytest.raises(BudgetSpent, match="the budget of 2 requests is spent"):
            run_task(task, remote(server, tmp_path, max_requests=2, concurrency=1), tmp_path / "out")
        again = remote(server, tmp_path, max_requests=5, concurrency=1)
        assert read_answers(run_task(task, again, tmp_path / "out")).complete
        assert again.answerer.spent.requests == 5


def test_what_needs_a_model_here_is_said(task, tmp_path):
    model = RemoteModel(
        RemoteAnswerer(RemoteSettings(base_url="http://127.0.0.1:9/v1", model="m"), cache=tmp_path)
    )
    ranking = Task.model_validate({"name": "seed", "scenario": task.scenario})
    with pytest.raises(ValueError, match=r"inferencer 'likelihood' reads probabilities.*--mode letters"):
        run_task(ranking, model, tmp_path)
    with pytest.raises(ValueError, match="methods of inference change a model here"):
        run_task(task, model, tmp_path, methods=[("vicrop", {})])


def test_the_command(nano, tmp_path, capsys):
    from conftest import chat
    from vitrail.cli.main import main
    from vitrail.data.readers import write_jsonl
    from vitrail.data.records import Choices

    options = Choices(options=("red", "blue"), answer=1)
    plain = [chat(f"Which colour, {n}?", id=str(n)) for n in range(3)]
    write_jsonl([one.model_copy(update={"choices": options}) for one in plain], tmp_path / "own.jsonl")
    words = ["--data", str(tmp_path / "own.jsonl"), "--out", str(tmp_path / "out"), "--no-blind", "--json"]
    with served(nano, key="sesame") as server:
        at = ["eval", NAME, "--address", server.url, *words]
        assert main(at) == 2 and "HTTP 401" in capsys.readouterr().err
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("THE_KEY", "sesame")
            assert main([*at, "--key-variable", "THE_KEY", "--max-requests", "9"]) == 0
    assert "trained" in json.loads(capsys.readouterr().out)["own"]
    answers = read_answers(tmp_path / "out" / "own" / "trained.jsonl")
    assert answers.header["task"]["instruction"]["name"] == "lettered" and len(answers.rows) == 3
    assert main(["eval", "m", *words, "--max-requests", "9"]) == 2
    assert "--max-requests goes with --address URL" in capsys.readouterr().err

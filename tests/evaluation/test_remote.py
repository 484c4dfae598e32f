"""A model at an address is evaluated as the same model here: same answers, same score, nothing asked twice."""

from __future__ import annotations

import json

import pytest

from conftest import chat
from echoes import echoing
from endpoint import NAME, served
from official_files import seed_bench, seed_row
from vitrail.cli.main import main
from vitrail.data.readers import open_source, write_jsonl
from vitrail.data.records import Choices
from vitrail.evaluation import Task
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.benchmark import LETTER
from vitrail.evaluation.remote import RemoteModel
from vitrail.evaluation.run import run_task
from vitrail.evaluation.scores import score
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


def test_a_question_that_is_too_long_there_is_set_aside(nano, tmp_path, capsys):
    """By the address's own word: nothing here knows how long the context is."""
    chats = [chat(f"Which, {n}? " + "word " * (2000 if n == 1 else 1), id=f"q{n}") for n in range(4)]
    path = written(chats, tmp_path)
    words = ["--data", str(path), "--out", str(tmp_path / "out"), "--no-blind"]
    with served(nano) as server:
        assert main(["eval", NAME, "--address", server.url, *words]) == 0
    told = capsys.readouterr().out
    assert "covers 3 of 4 rows, 1 left out (1 × " in told and "context" in told
    (aside,) = read_answers(tmp_path / "out" / "own" / "trained.jsonl").set_aside
    assert (aside["row"], aside["id"], aside["refused"]) == (1, "q1", 400)


def written(chats, tmp_path):
    options = Choices(options=("red", "blue"), answer=1)
    path = tmp_path / "own.jsonl"
    write_jsonl([one.model_copy(update={"choices": options}) for one in chats], path)
    return path


def test_what_was_refused_is_asked_again_only_when_told(tmp_path):
    source = open_source(str(written([chat(f"q{n}", id=f"q{n}") for n in range(7)], tmp_path)))
    task = Task.model_validate({"name": "own", **LETTER, "instruction": "plain"})
    once = {"folder": tmp_path / "out", "source": source, "batch_size": 1}
    with echoing() as server:
        server.refused = {"q2": (413, "large"), "q5": (422, {"message": "no"})}

        def ask(**settings):
            model = remote(server, tmp_path)
            return read_answers(run_task(task, model, **{**once, **settings}))

        first = ask()
        assert [(row["id"], row["refused"]) for row in first.set_aside] == [("q2", 413), ("q5", 422)]
        assert first.complete and [row["text"] for row in first.rows] == [
            f"echo q{n}" for n in (0, 1, 3, 4, 6)
        ]
        found = score(first.path)
        assert (found.rows, found.overall.n, found.set_aside, found.missing) == (7, 5, 2, 0)
        assert ask().path.read_bytes() == first.path.read_bytes() and len(server.seen) == 7
        server.refused.pop("q2")
        again = ask(retry_refused=True)
        assert len(server.seen) == 9 and [row["id"] for row in again.set_aside] == ["q5"]
        server.refused.clear()
        last = ask(retry_refused=True)
        assert last.complete and not last.set_aside and len(server.seen) == 10
        never = ask(folder=tmp_path / "never")
    assert last.path.read_bytes() == never.path.read_bytes(), "as if nothing had been refused"


@pytest.fixture
def quick(tmp_path):
    """Seven questions, asked in windows of four with short waits."""
    source = open_source(str(written([chat(f"q{n}", id=f"q{n}") for n in range(7)], tmp_path)))
    task = Task.model_validate({"name": "own", **LETTER, "instruction": "plain"})

    def ask(server, folder="out", retry_refused=False, **settings):
        model = remote(server, tmp_path, **{"retries": 1, "wait": 0.01, **settings})
        once = {"source": source, "batch_size": 1, "retry_refused": retry_refused}
        return read_answers(run_task(task, model, tmp_path / folder, **once))

    return ask


def test_what_is_never_answered_is_set_aside_as_what_is_refused(quick):
    with echoing() as server:
        server.refused = {"q1": (500, "a bad picture"), "q2": (413, "large")}
        server.odd = {"q5": None, "q6": b"<html>"}
        first = quick(server)
        told = [(row["id"], row.get("failed", "–"), row.get("refused")) for row in first.set_aside]
        assert told == [("q1", 500, None), ("q2", "–", 413), ("q5", None, None), ("q6", None, None)]
        found = score(first.path)
        assert first.complete and (found.rows, found.overall.n, found.set_aside, found.missing) == (
            7,
            3,
            4,
            0,
        )
        assert any(
            "did not answer after 2 tries: HTTP 500: a bad picture" in reason for reason in found.reasons
        )
        asked = len(server.seen)
        assert quick(server).path.read_bytes() == first.path.read_bytes() and len(server.seen) == asked
        server.refused.clear(), server.odd.clear()
        last = quick(server, retry_refused=True)
        never = quick(server, "never")
    assert not last.set_aside and last.path.read_bytes() == never.path.read_bytes()


@pytest.mark.parametrize("whole", [True, False], ids=["down", "the chats alone"])
def test_a_server_that_goes_down_stops_the_run_and_sets_nothing_aside(quick, whole, tmp_path):
    """q1 is answered by none and q5 on by nobody: a window of four is written before that is known."""
    with echoing() as server:
        server.refused = {f"q{n}": (500, "no") for n in (1, 2, 3, 4, 5, 6)}
        if whole:
            server.models = 502
        match = "/v1/models fails as well" if whole else "none of 5 chats in a row"
        with pytest.raises(ValueError, match=match):
            quick(server, concurrency=1, failures_in_a_row=5)
        lines = read_answers(tmp_path / "out" / "own" / "trained.jsonl")
        assert not lines.set_aside and {row["id"] for row in lines.rows} <= {"q0"} and not lines.complete
        server.refused, server.models = {}, 200
        again, never = quick(server), quick(server, "never")
    assert again.path.read_bytes() == never.path.read_bytes() and len(again.rows) == 7


def test_a_run_without_any_answer_says_so(quick, tmp_path):
    with echoing() as server:
        server.refused = {f"q{n}": (500, "no") for n in range(7)}
        with pytest.raises(ValueError, match=r"none of 7 questions was answered; .* HTTP 500: no; look at"):
            quick(server)
        assert score(tmp_path / "out" / "own" / "trained.jsonl").missing == 7


def test_a_key_that_is_wrong_ends_the_run_and_loses_nothing(tmp_path):
    source = open_source(str(written([chat(f"q{n}", id=f"q{n}") for n in range(6)], tmp_path)))
    task = Task.model_validate({"name": "own", **LETTER, "instruction": "plain"})
    with echoing() as server:
        server.refused = {"q4": (401, "who are you")}
        with pytest.raises(ValueError, match="HTTP 401: "):
            run_task(task, remote(server, tmp_path), tmp_path / "out", source=source, batch_size=1)
        there = read_answers(tmp_path / "out" / "own" / "trained.jsonl")
        assert not there.set_aside and [row["id"] for row in there.rows] == ["q0", "q1", "q2", "q3"]


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
    path = written([chat(f"Which colour, {n}?", id=str(n)) for n in range(3)], tmp_path)
    words = ["--data", str(path), "--out", str(tmp_path / "out"), "--no-blind", "--json"]
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
    assert main(["eval", "m", *words, "--retry-refused"]) == 2
    assert "--retry-refused goes with --address URL" in capsys.readouterr().err

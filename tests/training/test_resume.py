"""Killed and resumed equals never killed, to the last bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RESULT = {
    "stage.json",
    "plan.json",
    "metrics.jsonl",
    "final.safetensors",
    "objective.safetensors",
    "done.json",
}


class Server:
    """The program that trains in forked processes."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "killable_stage.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __call__(self, folder: Path, **order) -> dict:
        self.process.stdin.write(json.dumps({"folder": str(folder), **order}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert not answer["error"], answer
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture(scope="module")
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture(scope="module")
def unkilled(server, tmp_path_factory):
    """The run that was never killed, and how many writing calls it made."""
    folder = tmp_path_factory.mktemp("unkilled") / "stage"
    return folder, server(folder)["calls"]


def rows(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def equal(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    for name in ("final.safetensors", "objective.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert {entry.name for entry in other.iterdir()} == RESULT


def test_the_reference_is_a_whole_run(unkilled):
    folder, calls = unkilled
    assert [row["step"] for row in rows(folder)] == list(range(1, 13))
    assert len({row["loss"] for row in rows(folder)}) == 12
    assert {entry.name for entry in folder.iterdir()} == RESULT
    assert calls > 50


@pytest.mark.parametrize("share", [0.02, 0.4, 0.6, 0.97])
def test_killed_while_writing_and_resumed(server, unkilled, tmp_path, share):
    reference, calls = unkilled
    folder = tmp_path / "stage"
    assert server(folder, kill_at=max(1, round(share * calls)))["killed"]
    server(folder)
    equal(reference, folder)


def test_killed_again_and_again(server, unkilled, tmp_path):
    reference, _ = unkilled
    folder = tmp_path / "stage"
    killed = [server(folder, kill_at=25)["killed"] for _ in range(3)]
    assert all(killed)
    server(folder)
    equal(reference, folder)


def test_a_worker_changes_nothing(server, unkilled, tmp_path):
    reference, calls = unkilled
    folder = tmp_path / "stage"
    assert server(folder, kill_at=calls // 2, workers=1)["killed"]
    server(folder, workers=1)
    equal(reference, folder)


@pytest.mark.long
def test_killed_at_every_write(server, unkilled, tmp_path):
    """Every single call that writes, renames or flushes a file."""
    reference, calls = unkilled
    for call in range(1, calls + 1):
        folder = tmp_path / f"at-{call}"
        assert server(folder, kill_at=call)["killed"], call
        server(folder)
        equal(reference, folder)


@pytest.mark.long
def test_a_storm_of_kills(server, unkilled, tmp_path):
    """Twenty runs, each killed at random moments until it ends."""
    reference, _ = unkilled
    chance, killed = random.Random(0), 0
    for run in range(20):
        folder = tmp_path / f"run-{run}"
        for _ in range(8):
            killed += server(folder, kill_after=chance.uniform(0.05, 1.5))["killed"]
        server(folder)
        equal(reference, folder)
    assert killed > 20

"""An evaluation killed twenty times at random ends with the bytes of one that never was, and asks nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vitrail.evaluation.answers import read_answers, times_path
from vitrail.evaluation.scores import score

STORM = """
import json, os, random, signal, sys, time
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
import test_run
from vitrail.data.sources import ListSource
from vitrail.evaluation import run
from vitrail.evaluation.task import Task
from vitrail.models.testbeds import nano

questions = [test_run.question(n, id=f"q{{n}}", text="Which " * (1 + n % 7)) for n in range(150)]
questions[41] = test_run.question(41, id="q41", choices=None)  # one that cannot be asked
source, model, folder = ListSource(questions), nano.build(seed=0), {folder!r}
answer = run._Run._answer


def go(name, batch_size):
    run.run_task(Task(name="storm"), model, os.path.join(folder, name), source=source, batch_size=batch_size)


def child(name, started):
    path = os.path.join(folder, name, "storm", "trained.jsonl")
    have = [json.loads(line)["row"] for line in open(path).read().splitlines()[1:]] if os.path.exists(path) else []
    journal = os.open(os.path.join(folder, "journal"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def slowly(self, rows):
        os.write(journal, (json.dumps([started, list(rows), have]) + "\\n").encode())
        os.write(pipe, b".")
        return answer(self, rows)

    run._Run._answer = slowly
    go(name, 4)
    os.write(pipe, b"done")


draws, started = random.Random(0), 0
finished = False
while started < 20 or not finished:
    started += 1
    ready, pipe = os.pipe()
    process = os.fork()
    if process == 0:
        child("killed", started)
        os._exit(0)
    os.close(pipe)
    if started <= 20:  # the first twenty are killed: after a window, and a moment later
        told = os.read(ready, 1)
        time.sleep(draws.random() * 0.03)
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    finished = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    os.close(ready)
go("whole", 4)
print(json.dumps([started, finished]))
"""


@pytest.mark.long
def test_twenty_kills(tmp_path):
    here = Path(__file__).parent
    code = STORM.format(paths=[str(here), str(here.parent)], folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [21, True]
    killed, whole = (tmp_path / name / "storm/trained.jsonl" for name in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()
    starts = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert all(not set(rows) & set(have) for _, rows, have in starts), (
        "what is in the file is not asked again"
    )
    assert len({started for started, _, _ in starts}) > 4, "the kills must come in the middle"
    found = score(killed)
    assert (found.overall.n, found.set_aside, found.missing) == (149, 1, 0)
    assert read_answers(whole).seconds > 0 and times_path(killed).exists()

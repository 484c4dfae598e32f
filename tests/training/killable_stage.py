"""Trains a tiny stage in forked processes that get killed. A program, not a test.

Reads a JSON line ``{"folder": …, "kill_at": N | null, "kill_after": SECONDS | null, "workers": n}`` and answers with
one: ``{"killed": bool, "calls": N, "error": text}``. ``kill_at`` kills at the Nth call of a function that writes or
renames a file; what a library writes at that moment is left half-written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Loss
from vitrail.training import checkpoints
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


class NoisyNextToken(NextToken):
    """Draws random numbers and owns a parameter, so that both have to be resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, model, batch) -> Loss:
        loss = super().forward(model, batch)
        noisy = loss.sums["next_token"] * self.scale.abs() * (0.5 + torch.rand(()))
        return Loss({"next_token": noisy}, loss.counts)


def dataset(bundle, count: int = 24):
    return [
        bundle.encoder.encode(chat("what is it?", "a " + "red " * (i % 5) + "cat", seed=i % 3, id=f"r{i}"))
        for i in range(count)
    ]


def train(folder: str, workers: int = 0, **changes) -> None:
    bundle = nano.build(seed=0)
    settings = {
        "max_steps": 12,
        "batch_size": 2,
        "accumulation": 2,
        "checkpoint_steps": 3,
        "precision": "float32",
    }
    config = StageConfig(name="tiny", workers=workers, learning_rate=1e-2, **{**settings, **changes})
    train_stage(
        bundle.model, dataset(bundle), bundle.collator(), NoisyNextToken(), config, folder, device="cpu"
    )


def arm(kill_at: int | None) -> list[int]:
    """Count calls of what writes files; kill this process at the ``kill_at``-th."""
    calls = [0]

    def wrap(owner, name: str, half) -> None:
        real = getattr(owner, name)

        def counted(*arguments, **options):
            calls[0] += 1
            if calls[0] == kill_at:
                half(real, *arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        setattr(owner, name, counted)

    def nothing(*_, **__) -> None:
        pass

    def half_a_file(real, value, path, *arguments, **options) -> None:
        real(value, path, *arguments, **options)
        os.truncate(path, Path(path).stat().st_size // 2)

    for name in ("replace", "rename", "fsync"):
        wrap(os, name, nothing)
    wrap(os, "write", lambda real, handle, data: real(handle, data[: len(data) // 2]))
    wrap(torch, "save", half_a_file)
    wrap(checkpoints, "save_file", half_a_file)
    return calls


def child(order: dict, pipe: int) -> None:
    answer = {"killed": False, "error": ""}
    calls = arm(order.get("kill_at"))
    try:
        train(order["folder"], order.get("workers", 0))
    except Exception as error:
        answer["error"] = repr(error)
    with os.fdopen(pipe, "w") as out:
        json.dump({**answer, "calls": calls[0]}, out)
    os._exit(0)


def main() -> None:
    nano.tokenizer()
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            child(order, writing)
        os.close(writing)
        if order.get("kill_after") is not None:
            time.sleep(order["kill_after"])
            os.kill(pid, signal.SIGKILL)
        with os.fdopen(reading) as answers:
            said = answers.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(
            json.dumps(json.loads(said) if said else {"killed": killed, "calls": 0, "error": ""}), flush=True
        )


if __name__ == "__main__":
    main()

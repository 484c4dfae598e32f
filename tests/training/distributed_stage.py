"""Trains tiny stages and recipes in processes that are forked from one that has imported everything. Not a test.

Reads JSON lines ``{"processes": N, "folder": …, "break_at": CALL | 0, "recipe": {…} | null, "stage": {…}}`` and answers
with ``{"codes": […], "said": text}``. Each process ends as any program does, its interpreter with it. As under
torchrun, one that breaks off takes the others along.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.recipes import loading
from vitrail.recipes.run import run
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


class Breaks(NextToken):
    """Breaks off at a call; ``decomposes`` may be denied."""

    def __init__(self, at: int, decomposes: bool = True) -> None:
        super().__init__()
        self.break_at, self.calls, self.decomposes = at, 0, decomposes

    def forward(self, model, batch):
        self.calls += 1
        if self.calls == self.break_at:
            raise RuntimeError("broken off on purpose")
        return super().forward(model, batch)


def dataset(bundle):
    """Records without pictures, with one, with two; the long ones are text, so some micro-batches have none."""
    return [
        bundle.encoder.encode(
            chat("what is it?" + " hm" * 20 * (i % 3 == 0), "a cat", images=i % 3, seed=i, id=f"r{i}")
        )
        for i in range(24)
    ]


def stage(folder: str, break_at: int, decomposes: bool = True, **settings) -> None:
    bundle = nano.build(seed=0)
    defaults = {
        "name": "tiny",
        "trains": ("tower", "connector", "language"),
        "max_steps": 6,
        "batch_size": 2,
        "accumulation": 2,
        "learning_rate": 1e-3,
        "checkpoint_steps": 2,
        "precision": "float32",
    }
    config = StageConfig(**{**defaults, **settings})
    objective = Breaks(break_at, decomposes)
    train_stage(bundle.model, dataset(bundle), bundle.collator(), objective, config, folder, device="cpu")


def recipe(folder: str, break_at: int, values: dict) -> None:
    if break_at:
        calls, forward = [0], NextToken.read

        def read(self, seen, batch, noted):
            calls[0] += 1
            if calls[0] == break_at:
                raise RuntimeError("broken off on purpose")
            return forward(self, seen, batch, noted)

        NextToken.read = read
    run(loading.load(values), folder, device="cpu", report=False)


def fork(order: dict, rank: int, port: int, said: Path) -> int:
    """A process of the group; returns in the parent alone."""
    pid = os.fork()
    if pid:
        return pid
    names = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    names |= {"WORLD_SIZE": order["processes"], "LOCAL_WORLD_SIZE": order["processes"]}
    if order["processes"] > 1:
        os.environ.update({name: str(value) for name, value in names.items()})
    text = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(text, 1)
    os.dup2(text, 2)
    try:
        if order.get("recipe"):
            recipe(order["folder"], order.get("break_at", 0), order["recipe"])
        else:
            stage(order["folder"], order.get("break_at", 0), **order.get("stage", {}))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.exit(0)


def together(order: dict) -> dict:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    handle, name = tempfile.mkstemp()
    os.close(handle)
    left = {fork(order, rank, port, Path(name)): rank for rank in range(order["processes"])}
    codes: dict[int, int] = {}
    end = time.monotonic() + 300
    while left:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            codes[left.pop(pid)] = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.02)
        if any(codes.values()) or time.monotonic() > end:
            for other in left:
                os.kill(other, signal.SIGKILL)
    said = Path(name).read_text()[-6000:]
    os.unlink(name)
    return {"codes": [codes[rank] for rank in sorted(codes)], "said": said}


def main() -> None:
    nano.tokenizer()
    for line in sys.stdin:
        print(json.dumps(together(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

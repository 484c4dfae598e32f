"""``vitrail eval … --processes N``: the command N times, each with a model of its own and its share of the rows."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from vitrail.cli.parsing import positive


def add_processes(parser: argparse.ArgumentParser) -> None:
    """``--processes``, and what it starts processes with."""
    parser.add_argument(
        "--processes",
        type=positive,
        default=1,
        metavar="N",
        help="processes, each with the model (default 1); on several accelerators, one for each",
    )
    parser.add_argument("--share", type=_share, help=argparse.SUPPRESS)


def _share(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    return int(number), int(of)


def require_divisible(args: argparse.Namespace) -> None:
    """ValueError for what one process does."""
    if args.processes == 1:
        return
    if args.address is not None:
        raise ValueError(
            "--processes is for a model here; at an address --concurrency is how many are asked at a time"
        )
    if args.desiderata is not None:
        raise ValueError("--desiderata runs in one process; leave --processes out")
    if args.data is None and args.benchmark is None and args.suite is None:
        raise ValueError(
            "a run's own evaluations run in one process; --processes goes with --data, --benchmark or --suite"
        )


def ask_in_processes(args: argparse.Namespace, folder: Path) -> None:
    """Start the processes and wait for them.

    What they answer lies in files of their own (:mod:`vitrail.evaluation.processes`) until it is gathered. ValueError
    where one of them fails; the others are stopped, and what was answered is kept.
    """
    from vitrail.evaluation.processes import gather_below

    gather_below(folder)  # of an earlier start, maybe with another number of processes
    threads = [] if args.threads else ["--threads", str(max(1, (os.cpu_count() or 1) // args.processes))]
    words = [sys.executable, "-m", "vitrail.cli.main", "eval", *args.words, *threads]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(args.processes):
            quiet = ["--quiet"] if number and not args.quiet else []
            share = [*quiet, "--share", f"{number}/{args.processes}"]
            started.append(
                subprocess.Popen([*words, *share], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
        _wait(started)
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
        for process in started:
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _wait(started: list[subprocess.Popen[bytes]]) -> None:
    """Until all have ended, or one has failed."""
    left = dict(enumerate(started))
    while left:
        for number, process in list(left.items()):
            try:
                code = process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            del left[number]
            if code:
                raise ValueError(
                    f"process {number + 1} of {len(started)} ended with code {code} (its reason stands above); nothing "
                    "that was answered is lost: the same command goes on, with any number of processes"
                )


def follow_parent() -> None:
    """End this process when the one that started it has ended, however it ended."""

    def watch() -> None:
        while os.read(0, 1):  # at its end the other end of the pipe is gone
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="vitrail-parent", daemon=True).start()


def gathered(folder: Path, task: str, condition: str) -> Path:
    """The file of answers with all that processes have answered. ValueError where rows are missing."""
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.processes import gather

    path = folder / task / f"{condition}.jsonl"
    gather(path)
    if not read_answers(path).complete:
        raise ValueError(f"{path} lacks rows although every process has ended; start again")
    return path


def place_share(bundle: Any, share: tuple[int, int] | None) -> Any:
    """The model on an accelerator of its own, where there are several."""
    from vitrail.recipes.assembly import place

    if share is not None:
        import torch

        if torch.cuda.device_count() > 1:
            torch.cuda.set_device(share[0] % torch.cuda.device_count())
    return place(bundle)

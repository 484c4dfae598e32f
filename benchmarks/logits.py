"""Logits where labels are, against logits everywhere: time and memory. Prints JSON.

    python benchmarks/logits.py [--layers 1] [--repeats 5] [--threads 1] [--precision float32]

Head and loss of SmolLM2-135M's size (width 576, vocabulary 49,152) over a batch of 8 × 128 tokens of which 164 are
labelled, forward and backward with gradients for the inputs and the head. ``layers`` decoder layers stand in front
(0 is not offered by the architecture; 30 is the whole model). Each side runs in a process of its own, so that its
peak memory is its own: ``peak_mib`` is what a step adds to the memory held before it. With one thread, seconds are
of the process's own CPU, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROWS, TOKENS, LABELLED = 8, 128, 164


def batch() -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 49152, (ROWS, TOKENS), generator=generator)
    places = torch.randperm(ROWS * (TOKENS - 1), generator=generator)[:LABELLED]
    labels = torch.full_like(ids, -100)
    row, column = places // (TOKENS - 1), places % (TOKENS - 1) + 1
    labels[row, column] = ids[row, column]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def everywhere(model: Any, made: dict[str, Any]) -> Any:
    import torch.nn.functional as F

    inputs = {name: value for name, value in made.items() if name != "labels"}
    logits = model(**inputs, use_cache=False).logits.float()
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), made["labels"][:, 1:].flatten())


def labelled_only(model: Any, made: dict[str, Any]) -> Any:
    from vitrail.objectives.next_token import NextToken

    return NextToken()(model, made).total()


def peak_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def side(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    import torch

    from step import language_model

    torch.set_num_threads(options.threads)
    model, made = language_model(options.layers).train(), batch()
    loss_of = {"everywhere": everywhere, "labelled": labelled_only}[name]
    half = options.precision == "bfloat16"

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = loss_of(model, made)
        loss.backward()
        model.zero_grad()
        return float(loss.detach())

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building the model
    before = peak_kib()
    step()
    peak, times = peak_kib() - before, []
    clock = time.process_time if options.threads == 1 else time.perf_counter
    for _ in range(options.repeats):
        begin = clock()
        loss = step()
        times.append(clock() - begin)
    return {"best_s": round(min(times), 3), "peak_mib": round(peak / 1024), "loss": round(loss, 5)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--side", choices=["everywhere", "labelled"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(side(options.side, options)))
        return
    found: dict[str, Any] = {}
    for name in ("everywhere", "labelled"):
        run = subprocess.run(
            [sys.executable, *sys.argv, "--side", name], check=True, capture_output=True, text=True
        )
        found[name] = json.loads(run.stdout.splitlines()[-1])
    full, few = found["everywhere"], found["labelled"]
    ratios = {name: round(full[name] / few[name], 2) for name in ("best_s", "peak_mib")}
    settings = {"layers": options.layers, "threads": options.threads, "precision": options.precision}
    print(json.dumps({**settings, **found, "times_less": ratios}, indent=2))


if __name__ == "__main__":
    main()

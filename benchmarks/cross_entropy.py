"""The head's loss in chunks, against all logits at once: time and memory. Prints JSON.

    python benchmarks/cross_entropy.py [--tokens 1024] [--hidden 576] [--vocab 49152] [--chunks 128 256]
                                       [--precision float32] [--threads 1] [--repeats 3] [--frozen-head]

Head and cross-entropy over so many labelled tokens, forward and backward, with gradients for the states and (unless
``--frozen-head``) the head. ``whole``: logits of all tokens, float32, cross-entropy, as transformers do it. ``chunks``:
:mod:`vitrail.objectives.linear_cross_entropy`; ``auto`` is the size it chooses itself. Every side runs in a process of
its own; ``peak_mib`` is what a step adds to the memory held before it (on CUDA: the allocator's peak). With one thread,
seconds are of the process's own CPU, so that other work on the machine counts little. On CUDA, ``liger`` is measured
where it is installed. ``difference``: of loss and of the states' gradient from ``whole``, relative to the
largest value.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any


def losses_of(name: str) -> Callable[..., Any]:
    import torch.nn.functional as F

    from vitrail.objectives.linear_cross_entropy import summed

    if name == "whole":
        return lambda states, head, labels: F.cross_entropy(
            F.linear(states, head).float(), labels, reduction="sum"
        )
    if name == "liger":
        from vitrail.objectives.fused import liger_sum

        return lambda states, head, labels: liger_sum(states, head, labels)
    chunk = None if name == "auto" else int(name)
    return lambda states, head, labels: summed(states, head, labels, chunk=chunk)


def side(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    states = torch.randn(options.tokens, options.hidden, device=device, requires_grad=True)
    head = torch.randn(options.vocab, options.hidden, device=device) / options.hidden**0.5
    head.requires_grad_(not options.frozen_head)
    labels = torch.randint(0, options.vocab, (options.tokens,), device=device)
    loss_of, half = losses_of(name), options.precision == "bfloat16"

    def step() -> float:
        states.grad = head.grad = None
        with torch.autocast(device, torch.bfloat16) if half else nullcontext():
            loss = loss_of(states, head, labels)
        loss.backward()
        return float(loss.detach())

    before = start_counting(device)
    loss = step()
    peak, times = peak_bytes(device) - before, []
    clock = time.process_time if options.threads == 1 and device == "cpu" else time.perf_counter
    for _ in range(options.repeats):
        begin = clock()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - begin)
    torch.save({"loss": loss, "gradient": states.grad}, Path(options.folder) / f"{name}.pt")
    return {"best_s": round(min(times), 4), "peak_mib": round(peak / 2**20)}


def start_counting(device: str) -> int:
    """Forget the peak so far; the bytes held now."""
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes(device)


def peak_bytes(device: str) -> int:
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def differences(folder: Path, names: list[str]) -> dict[str, list[float]]:
    import torch

    read = {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in names}
    whole, found = read["whole"], {}
    for name in names[1:]:
        loss = abs(read[name]["loss"] - whole["loss"]) / abs(whole["loss"])
        gradient = (read[name]["gradient"] - whole["gradient"]).abs().max() / whole["gradient"].abs().max()
        found[name] = [float(f"{loss:.2g}"), float(f"{gradient:.2g}")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--vocab", type=int, default=49152)
    parser.add_argument("--chunks", type=int, nargs="*", default=[])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frozen-head", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(side(options.side, options)))
        return
    names = ["whole", "auto", *map(str, options.chunks)]
    if importlib.util.find_spec("liger_kernel") is not None:
        names.append("liger")
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {}
        for name in names:
            command = [sys.executable, *sys.argv, "--side", name, "--folder", folder]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = json.loads(run.stdout.splitlines()[-1])
        apart = differences(Path(folder), names)
    for name in names[1:]:
        ratios = {key: round(found[name][key] / found["whole"][key], 3) for key in ("best_s", "peak_mib")}
        found[name] |= {"of_whole": ratios, "difference": apart[name]}
    kept = ("tokens", "hidden", "vocab", "precision", "threads", "frozen_head")
    print(json.dumps({name: getattr(options, name) for name in kept} | found, indent=2))


if __name__ == "__main__":
    main()

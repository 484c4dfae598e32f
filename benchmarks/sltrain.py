"""Memory and time of a training step of decoder blocks: whole matrices against low-rank plus sparse. Prints JSON.

    python benchmarks/sltrain.py [--hidden 1024] [--inner 2736] [--rank 256] [--density 0.03] [--tokens 256]
                                 [--blocks 4] [--repeats 5] [--threads 1] [--device cpu]

Each block has the seven matrices of a Llama block, in the shape given (the default: 350M's), random weights. Arms:
``dense``: AdamW over whole matrices; ``sltrain``: one AdamW over factors and values; ``per_layer``: an AdamW a
parameter, stepped in the backward pass, which keeps no gradient.

``peak_mib`` is what one step needs at most beyond inputs: on a GPU as its allocator counts it; on a CPU weights,
optimiser state, and what is allocated and freed in the step, as torch's profiler sees it (``profile_memory``).
``adam_mib`` is measured on the optimiser; ``adam8_mib`` is what two moments of one byte would take, with a float32
scale a block of 256, as 8-bit Adam keeps them. Times: the best and the median of ``--repeats`` steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch
from torch import nn

from vitrail.models.surgery.sparse_low_rank import SparseLowRankLinear
from vitrail.training.per_layer_optimiser import PerLayerOptimizer

MIB = 2**20


class Block(nn.Module):
    """Attention's four matrices and an MLP's three, one after another with what stands between."""

    def __init__(self, hidden: int, inner: int, make: Any) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (make(hidden, hidden) for _ in range(4))
        self.gate, self.up, self.down = make(hidden, inner), make(hidden, inner), make(inner, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.o(
            nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), is_causal=True)
        )
        return x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))


def adam(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=1e-4)


def arm(name: str, options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    device = torch.device(options.device)
    settings = {"rank": options.rank, "density": options.density, "alpha": 16}

    def make(n: int, m: int) -> nn.Module:
        return nn.Linear(n, m, bias=False) if name == "dense" else SparseLowRankLinear(n, m, **settings)

    blocks = [Block(options.hidden, options.inner, make) for _ in range(options.blocks)]
    block = nn.Sequential(*blocks).to(device)
    x = torch.randn(1, options.tokens, options.hidden, device=device)
    groups = [{"params": list(block.parameters())}]
    optimizer: Any = PerLayerOptimizer(groups, adam) if name == "per_layer" else adam(groups)

    def step() -> None:
        block(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    trained = sum(p.numel() for p in block.parameters())
    weights = sum(p.numel() * p.element_size() for p in [*block.parameters(), *block.buffers()])
    state = state_bytes(optimizer)
    needed = transient(step, device)
    times = []
    for _ in range(options.repeats):
        begin = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return {
        "arm": name,
        "trained": trained,
        "weights_mib": round(weights / MIB, 1),
        "adam_mib": round(state / MIB, 1),
        "adam8_mib": round((2 * trained + 2 * 4 * trained / 256) / MIB, 1),
        "peak_mib": round((weights + state + needed) / MIB, 1),
        "best_s": round(min(times), 4),
        "median_s": round(statistics.median(times), 4),
    }


def state_bytes(optimizer: Any) -> int:
    if isinstance(optimizer, PerLayerOptimizer):
        return optimizer.state_bytes()
    kept = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    return sum(value.numel() * value.element_size() for value in kept)


def transient(step: Any, device: torch.device) -> int:
    """The most bytes that a step holds beyond what was there before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    level = most = 0
    for event in sorted(found.profiler.kineto_results.events(), key=lambda one: one.start_ns()):
        if event.name() == "[memory]":
            level += event.nbytes()
            most = max(most, level)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--inner", type=int, default=2736)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--density", type=float, default=0.03)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    arms = [arm(name, options) for name in ("dense", "sltrain", "per_layer")]
    dense, *others = arms
    for one in others:
        one["of_dense"] = {
            name: round(one[name] / dense[name], 3) for name in ("trained", "adam_mib", "peak_mib", "best_s")
        }
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(json.dumps({"torch": torch.__version__, "device": device, **vars(options), "arms": arms}, indent=2))


if __name__ == "__main__":
    main()

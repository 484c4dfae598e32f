"""The planned peak of memory against a measured one. Prints JSON.

    python benchmarks/memory.py [--cases tiny small small-lora …] [--rows 4] [--tokens 256]

Each case trains two steps in a process of its own and reads how far its resident memory rose above that of a process
that has only loaded the libraries. ``tiny`` is a language model of 30 M parameters and width 256, ``small`` of
SmolLM2-135M's shape (random weights); ``-lora`` trains adapters of rank 16 on every linear layer, ``-again`` with
activations computed again, ``-half`` over bfloat16 weights under autocast; otherwise every weight trains. The plan
comes from :mod:`vitrail.recipes.costs`, exactly as ``vitrail plan`` uses it: weights, gradients, AdamW's two moments,
and the most that is alive at once.

``ratio``: planned by measured; above one is on the safe side. Resident memory on a CPU also holds what the allocator
and the matrix library keep for themselves, which no plan knows.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vitrail.recipes.shapes import SMOLLM2_135M

_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_")
SHAPES = {
    "tiny": {
        "vocab_size": 32768,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "small": {name: size for name, size in SMOLLM2_135M.items() if name.startswith(_SIZES)},
}
CASES = [f"{shape}{how}" for shape in SHAPES for how in ("", "-lora", "-lora-again", "-lora-half")]


def build(case: str, device: str) -> Any:
    """The model of a case with what trains chosen; on ``meta`` or ``cpu``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from vitrail.recipes.adapters import add_lora
    from vitrail.recipes.schema import Lora
    from vitrail.training.selection import select_parameters

    sizes = SHAPES[case.partition("-")[0]]
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**sizes, max_position_embeddings=4096, tie_word_embeddings=True))
        if "half" in case:
            model.to(torch.bfloat16)
        if "lora" in case:
            add_lora(model, Lora(r=16))
    select_parameters(model, ["language.lora" if "lora" in case else "language"])
    return model


def planned(case: str, rows: int, tokens: int) -> dict[str, float]:
    """Bytes as ``vitrail plan`` adds them up for a stage without accumulation."""
    from vitrail.recipes.costs import Batch, language_bytes

    model = build(case, "meta")
    alive = language_bytes(
        model,
        Batch(rows, tokens, rows * tokens // 4),
        bfloat16="half" in case,
        checkpointing="again" in case,
    )
    gradients = 4.0 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = sum(p.numel() * (4 if p.requires_grad else p.element_size()) for p in model.parameters())
    found = {"weights": float(weights), "gradients": gradients, "optimiser": 2 * gradients}
    return {**found, "activations": max(alive - gradients, 0.0)}


def resident(field: str) -> int:
    """A figure of this process in bytes: ``VmRSS`` now, ``VmHWM`` the most there was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measured(case: str, rows: int, tokens: int, keep_freed: bool) -> int:
    """How far two steps raise this process's resident memory."""
    import torch
    from torch.nn import functional as F

    from vitrail.models.logits import logits_at, shifted
    from vitrail.training.memory import keep_freed_memory

    if keep_freed:
        keep_freed_memory()
    warm = build("tiny-lora", "cpu")  # what the libraries take for themselves is there before
    warm(input_ids=torch.ones(1, 8, dtype=torch.long)).logits.sum().backward()
    torch.optim.AdamW([p for p in warm.parameters() if p.requires_grad], fused=True).step()
    del warm
    gc.collect()
    before = resident("VmRSS")
    model = build(case, "cpu").train()
    if "again" in case:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    ids = torch.randint(0, 1000, (rows, tokens))
    mask = torch.ones_like(ids)
    mask[0, -1] = 0  # padding, as in training: a mask is made
    labels = torch.full_like(ids, -100)
    labels[:, -tokens // 4 :] = ids[:, -tokens // 4 :]
    keep, targets = shifted(labels)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled="half" in case):
            output = logits_at(model, keep, input_ids=ids, attention_mask=mask, use_cache=False)
            loss = F.cross_entropy(output.logits.float(), targets, reduction="none").sum()
        loss.backward()
        del output, loss
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return resident("VmHWM") - before


def in_own_process(case: str, args: argparse.Namespace, keep_freed: bool) -> int:
    """:func:`measured` in a fresh process."""
    command = [sys.executable, __file__, "--measure", case]
    command += ["--rows", str(args.rows), "--tokens", str(args.tokens)]
    given_back = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0"}
    command += ["--keep-freed"] if keep_freed else []
    environment = {**os.environ, **({} if keep_freed else given_back)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--keep-freed", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(measured(args.measure, args.rows, args.tokens, args.keep_freed))
        return
    found = []
    for case in args.cases:
        plan = planned(case, args.rows, args.tokens)
        peak, kept = (in_own_process(case, args, keep_freed) for keep_freed in (False, True))
        total = sum(plan.values())
        mib = {name: round(value / 2**20, 1) for name, value in plan.items()}
        found.append(
            {
                "case": case,
                "planned_mib": round(total / 2**20, 1),
                "measured_mib": round(peak / 2**20, 1),
                "kept_mib": round(kept / 2**20, 1),
                "ratio": round(total / peak, 3),
                "plan": mib,
            }
        )
        print(json.dumps(found[-1]), file=sys.stderr)
    print(json.dumps({"rows": args.rows, "tokens": args.tokens, "cases": found}, indent=2))


if __name__ == "__main__":
    main()

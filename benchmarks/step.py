"""A training step as a share of what this machine's matrix products reach. Prints JSON.

    python benchmarks/step.py [--modes frozen lora full] [--shapes 8x45 8x128] [--threads 2] [--repeats 7]
                              [--give-memory-back]

The model has SmolLM2-135M's shape (width 576, 30 layers, vocabulary 49,152) and random weights; ``labelled`` tokens a
row get logits, as in training on answers. Modes: ``frozen`` (the language model is frozen, the inputs get gradients,
as when a connector trains), ``lora`` (rank 8 on every linear layer, inputs too), ``full`` (every weight trains).

Operations are counted, not estimated: torch's counter sees every matrix product of forward and backward (a product
for a gradient that nobody asks for is not made and not counted), plus the products inside attention over the causal
half. Recomputation, norms, rotary embeddings, softmax and the optimiser count as nothing, so the share is a lower
bound of how busy the multipliers are.

``peak``: the best of many products of this model's own layer shapes and of a large square one, whichever is faster.
Peak and step are measured in turns, because other work on the machine comes and goes; the best of each is compared,
and the median of the shares of the turns stands beside it. ``page_faults``: pages mapped anew in a step; as in
training, freed memory stays with the process unless ``--give-memory-back`` is given.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vitrail.objectives.next_token import NextToken
from vitrail.training.memory import keep_freed_memory
from vitrail.training.optimiser import parameter_groups
from vitrail.training.selection import select_parameters
from vitrail.training.stages import StageConfig

SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def language_model(layers: int) -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(num_hidden_layers=layers, **SHAPE)
    return transformers.LlamaForCausalLM._from_config(config, attn_implementation="sdpa")


class OnInputs(nn.Module):
    """A stand-in for the connector: input vectors that train."""

    def __init__(self, language: Any, rows: int, tokens: int) -> None:
        super().__init__()
        self.language = language
        self.inputs = nn.Parameter(0.02 * torch.randn(rows, tokens, SHAPE["hidden_size"]))

    def forward(self, input_ids: Any = None, **arguments: Any) -> Any:
        return self.language(inputs_embeds=self.inputs, **arguments)


def prepare(mode: str, layers: int, rows: int, tokens: int) -> tuple[nn.Module, list[dict[str, Any]]]:
    language = language_model(layers)
    if mode == "lora":
        from peft import LoraConfig, inject_adapter_in_model

        linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=linear), language.model)
    model: nn.Module = language if mode == "full" else OnInputs(language, rows, tokens)
    names = {"frozen": ["inputs"], "lora": ["inputs", "language.lora"], "full": ["all"]}[mode]
    inputs = nn.ParameterList([model.inputs]) if mode != "full" else nn.ParameterList()
    selection = select_parameters(model, names, {"inputs": inputs, "language": language})
    config = StageConfig(name="step", max_steps=1, trains=tuple(names))
    return model.train(), parameter_groups(model, selection, NextToken(), config)


def batch_of(rows: int, tokens: int, labelled: int) -> dict[str, Any]:
    ids = torch.randint(0, SHAPE["vocab_size"], (rows, tokens), generator=torch.Generator().manual_seed(0))
    labels = torch.full_like(ids, -100)
    labels[:, -labelled:] = ids[:, -labelled:]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def attention_flops(layers: int, rows: int, tokens: int) -> float:
    """QKᵀ and AV over the causal half, and the four products of their gradients."""
    pairs = tokens * (tokens + 1) / 2
    return layers * rows * pairs * SHAPE["hidden_size"] * 2 * (2 + 4)


def peak_gflops(rows: int, dtype: torch.dtype, seconds: float = 0.4) -> float:
    """Best product among this model's layer shapes, forward and for the weights' gradient, and a large square one."""
    width, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    shapes = [(rows, width, inner), (rows, inner, width), (rows, width, width), (width, rows, inner)]
    best = 0.0
    for m, k, n in [*shapes, (1536, 1536, 1536)]:
        left, right = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
        left @ right
        end = time.perf_counter() + seconds / 5
        while time.perf_counter() < end:
            begin = time.perf_counter()
            left @ right
            best = max(best, 2e-9 * m * k * n / (time.perf_counter() - begin))
    return best


def measure(mode: str, rows: int, tokens: int, options: argparse.Namespace) -> dict[str, Any]:
    model, groups = prepare(mode, options.layers, rows, tokens)
    optimizer = torch.optim.AdamW(groups, fused=True)
    batch, objective = batch_of(rows, tokens, options.labelled), NextToken()
    half = options.precision == "bfloat16"

    def gradients() -> None:
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = objective(model, batch).total()
        loss.backward()

    def step() -> None:
        gradients()
        nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        optimizer.step()
        optimizer.zero_grad()

    with FlopCounterMode(display=False) as counter:
        gradients()
    optimizer.zero_grad()
    gflop = (counter.get_total_flops() + attention_flops(options.layers, rows, tokens)) / 1e9
    step()
    dtype = torch.bfloat16 if half else torch.float32
    step()
    faults = page_faults()
    step()
    faults = page_faults() - faults
    peaks, times = [], []
    for _ in range(options.repeats):
        peaks.append(peak_gflops(rows * tokens, dtype))
        times.append(timed(step))
    rates = [gflop / seconds for seconds in times]
    return {
        "mode": mode,
        "rows": rows,
        "tokens": tokens,
        "trained": sum(p.numel() for group in groups for p in group["params"]),
        "gflop": round(gflop, 1),
        "best_s": round(min(times), 3),
        "page_faults": faults,
        "gflops": round(max(rates), 1),
        "peak_gflops": round(max(peaks), 1),
        "share_of_peak": round(max(rates) / max(peaks), 3),
        "median_share": round(statistics.median(r / p for r, p in zip(rates, peaks, strict=True)), 3),
    }


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modes", nargs="+", default=["frozen", "lora", "full"])
    parser.add_argument("--shapes", nargs="+", default=["8x45", "8x128"], help="rows x tokens")
    parser.add_argument("--labelled", type=int, default=20, help="labelled tokens a row")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--give-memory-back", action="store_true", help="the allocator's own way")
    options = parser.parse_args()
    if not options.give_memory_back:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    results = []
    for shape in options.shapes:
        rows, tokens = (int(side) for side in shape.split("x"))
        results += [measure(mode, rows, tokens, options) for mode in options.modes]
    machine = {"threads": options.threads, "layers": options.layers, "precision": options.precision}
    print(json.dumps({"torch": torch.__version__, **machine, "steps": results}, indent=2))


if __name__ == "__main__":
    main()

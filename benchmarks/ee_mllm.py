"""What composite attention (EE-MLLM) costs beside the dense model at prefill, on a CPU. Prints JSON.

    python benchmarks/ee_mllm.py [--visual 256 1024 4096] [--text 64] [--layers 2] [--repeats 3] [--threads 1]

A decoder of SmolLM2-135M's width (576, 9 heads over 3 of keys and values, 1536 in the feed-forward network) with random
weights and a small vocabulary reads a picture of so many visual tokens and some text behind it, and keeps its cache.
``seconds`` is the best of the repeats in processor time of the process (with one thread, other work on the machine
counts little); sides take turns. ``mib`` is the largest resident size of a fresh process that does one prefill, less
its size before. ``gflops`` follows ``flops_per_layer`` (two operations a multiply-add), all layers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

MODES = ("dense", "vo+ffn", "ffn", "none")


def model_of(layers: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=16384,
    )
    return LlamaForCausalLM._from_config(config).eval()


def batch_of(visual: int, text: int) -> tuple[dict[str, Any], Any]:
    import torch

    from vitrail.models.layout import Layout, Modality, Speaker

    ids = torch.randint(0, 1024, (1, visual + text), generator=torch.Generator().manual_seed(0))
    pictured = (torch.arange(visual + text) < visual)[None]
    place = torch.where(pictured, 0, -1)
    layout = Layout(
        segment=torch.zeros_like(ids),
        modality=torch.where(pictured, int(Modality.IMAGE), int(Modality.TEXT)),
        item=place,
        frame=place,
        row=place,
        col=place,
        speaker=torch.full_like(ids, int(Speaker.USER)),
        weight=torch.zeros(ids.shape),
        droppable=pictured,
    )
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "use_cache": True,
        "logits_to_keep": 1,
    }, layout


def prefill(model: Any, inputs: dict[str, Any], layout: Any, mode: str) -> float:
    import torch

    from vitrail.models.rules import applied
    from vitrail.models.rules.ee_mllm import composite_attention

    rule = None if mode == "dense" else composite_attention(mode)  # type: ignore[arg-type]
    begin = time.process_time()
    with torch.inference_mode(), applied(model, rule, layout):
        model(**inputs)
    return time.process_time() - begin


def memory(mode: str, visual: int, options: argparse.Namespace) -> float:
    """Run in a fresh process: MiB that one prefill adds to the largest resident size."""
    import torch

    torch.set_num_threads(options.threads)
    model = model_of(options.layers)
    prefill(model, *batch_of(8, 8), mode)
    before = peak()
    prefill(model, *batch_of(visual, options.text), mode)
    return peak() - before


def peak() -> float:
    """The largest resident size so far, MiB (of this process alone: ``ru_maxrss`` begins with its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visual", type=int, nargs="+", default=[256, 1024, 4096])
    for name, default in (("text", 64), ("layers", 2), ("repeats", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()

    import torch

    from vitrail.models.rules.ee_mllm import flops_per_layer

    torch.set_num_threads(options.threads)
    model = model_of(options.layers)
    rows = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for visual in options.visual:
            batch = batch_of(visual, options.text)
            times: dict[str, list[float]] = {mode: [] for mode in MODES}
            for repeat in range(options.repeats + 1):
                for mode in MODES:
                    seconds = prefill(model, *batch, mode)
                    if repeat:  # the first is to warm up
                        times[mode].append(seconds)
            for mode in MODES:
                flops = 2 * options.layers * flops_per_layer(options.text, visual, model.config, mode)  # type: ignore[arg-type]
                rows.append(
                    {
                        "visual": visual,
                        "mode": mode,
                        "seconds": round(min(times[mode]), 4),
                        "of_dense": round(min(times[mode]) / min(times["dense"]), 3),
                        "mib": round(pool.apply(memory, (mode, visual, options)), 1),
                        "gflops": round(flops / 1e9, 2),
                    }
                )
    print(json.dumps({"settings": vars(options), "torch": torch.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

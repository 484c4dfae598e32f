"""What several scales of a picture cost beside one, all tiles at once and tile by tile. Prints JSON.

    python benchmarks/s2.py [--tower efficientnet_lite] [--pictures 2] [--repeats 3] [--threads 1] [--device cpu]

Random weights: ``efficientnet_lite`` (Lite0 at 224) or ``clip`` (ViT-B/16 at 224). For scales 1, 1 to 2 and 1 to 3:
operations relative to one scale (counted by torch, and by the formula Σ n²), seconds of a forward without gradients
(best repeat) and the most bytes of tensors alive during it beside the weights, ``batched`` and ``chunked``. On an
accelerator bytes are its allocator's peak. With one thread on a CPU, seconds are of the process's own time.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

CLIP_BASE = {
    "model_type": "clip_vision_model",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
}


def base_of(name: str) -> tuple[Any, str]:
    from vitrail.models.towers.efficientnet import EfficientNetLite
    from vitrail.models.towers.huggingface import HuggingFaceTower

    if name == "clip":
        return HuggingFaceTower(HuggingFaceTower.Config(vision_config=CLIP_BASE)), "huggingface"
    return EfficientNetLite(EfficientNetLite.Config()), name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tower", choices=("efficientnet_lite", "clip"), default="efficientnet_lite")
    parser.add_argument("--device", default="cpu")
    for name, default in (("pictures", 2), ("repeats", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vitrail.models.towers.s2 import S2Tower
    from vitrail.recipes.costs import LiveBytes

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clock = time.process_time if options.threads == 1 and device.type == "cpu" else time.perf_counter
    base, name = base_of(options.tower)
    base = base.eval().to(device)
    cases = {f"1 to {top}" if top > 1 else "1": tuple(range(1, top + 1)) for top in (1, 2, 3)}

    def measured(tower: Any, pixels: Any) -> dict[str, float]:
        def forward() -> None:
            with torch.no_grad():
                tower(pixels)
            if device.type == "cuda":
                torch.cuda.synchronize()

        forward()
        seconds = []
        for _ in range(options.repeats):
            begin = clock()
            forward()
            seconds.append(clock() - begin)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            forward()
            peak = torch.cuda.max_memory_allocated() - before
        else:
            with LiveBytes([*tower.parameters(), *tower.buffers(), pixels]) as live:
                forward()
            peak = live.peak
        return {"seconds": round(min(seconds), 4), "peak_mib": round(peak / 2**20, 1)}

    found: dict[str, Any] = {}
    for label, scales in cases.items():
        towers = {
            way: S2Tower.around(base, name, scales=scales, chunked=way == "chunked").eval().to(device)
            for way in ("batched", "chunked")
        }
        side = towers["batched"].image_size
        pixels = torch.randn(options.pictures, 3, side, side, device=device)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            towers["batched"](pixels)
            features = {way: tower(pixels).tokens for way, tower in towers.items()}
        found[label] = {
            "flops": counter.get_total_flops() / 3,
            "formula": towers["batched"].relative_flops,
            "difference": float((features["batched"] - features["chunked"]).abs().max()),
            **{way: measured(tower, pixels) for way, tower in towers.items()},
        }
    single, operations = found["1"], found["1"]["flops"]
    for label in cases:
        found[label]["flops_ratio"] = round(found[label].pop("flops") / operations, 3)
        if label == "1":
            continue
        for way in ("batched", "chunked"):
            for what in ("seconds", "peak_mib"):
                found[label][way][f"{what}_ratio"] = round(
                    found[label][way][what] / single["batched"][what], 2
                )
    print(json.dumps({**vars(options), "scales": found}, indent=2))


if __name__ == "__main__":
    main()

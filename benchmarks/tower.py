"""Tower images a second, plain and accelerated, and what the feature cache gains. Prints JSON.

    python benchmarks/tower.py [--pictures 256] [--threads 2] [--repeats 3]

EfficientNet-Lite0 at 224 px in float32: eager, eager in channels-last memory format, and ONNX Runtime (the exported
model is checked against the tower first). Modes take turns and the best repeat counts, since other work may share the
cores. The cache: seconds to compute and store the features of composed scenes, decoding included, against reading them
back.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch


def best_rate(calls: dict[str, object], images: int, repeats: int) -> dict[str, float]:
    """Images a second of each call, the best of ``repeats`` rounds."""
    seconds = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {name: images / spent for name, spent in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    import copy

    from vitrail.data.scenes import suite
    from vitrail.models.frozen import FrozenTower, weights_fingerprint
    from vitrail.models.testbeds import small
    from vitrail.models.towers.onnx import OnnxTower

    tower = small.load_tower()
    last = copy.deepcopy(tower).to(memory_format=torch.channels_last)
    onnx = OnnxTower(tower, weights_fingerprint(tower), threads=args.threads)
    pixels = torch.randn(32, 3, 224, 224)
    pixels_last = pixels.to(memory_format=torch.channels_last)
    array = pixels.numpy()
    with torch.inference_mode():
        rates = best_rate(
            {
                "eager": lambda: tower(pixels),
                "channels_last": lambda: last(pixels_last),
                "onnx": lambda: onnx(array),
            },
            len(pixels),
            args.repeats,
        )

    source = suite("scenes-v1").questions(n=args.pictures)
    pictures = [(source[index].images[0], None) for index in range(args.pictures)]
    with tempfile.TemporaryDirectory() as folder:
        FrozenTower(tower, cache=Path(folder)).prepare(pictures[:1])  # the export is not part of it
        start = time.perf_counter()
        frozen = FrozenTower(tower, cache=Path(folder))
        frozen.prepare(pictures)
        computed = time.perf_counter() - start
        start = time.perf_counter()
        again = FrozenTower(tower, cache=Path(folder))
        again.prepare(pictures)
        for begin in range(0, len(pictures), 32):
            again(pictures[begin : begin + 32])
        read = time.perf_counter() - start
    result = {
        "threads": args.threads,
        "images_a_second": {name: round(rate, 1) for name, rate in rates.items()},
        "onnx_over_eager": round(rates["onnx"] / rates["eager"], 2),
        "cache": {"pictures": len(pictures), "compute_s": round(computed, 2), "read_s": round(read, 2)},
        "cache_gain": round(computed / read, 1),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

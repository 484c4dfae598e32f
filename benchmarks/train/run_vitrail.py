"""One epoch of vitrail over the material."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import timing
import torch
import transformers

import vitrail


def recipe(
    material: Path, batch: int, rate: float, packing: int | None, checkpointing: bool = False
) -> dict[str, Any]:
    """A ready model, trained on a file: connector and language model, a constant rate, as the others do."""
    stage: dict[str, Any] = {
        "name": "tune", "data": "rows", "trains": ["connector", "language"], "learning_rate": rate,
        "schedule": "constant", "warmup": 0, "batch_size": batch, "epochs": 1, "precision": "float32",
        "checkpoint_minutes": None, "max_grad_norm": 1.0, "gradient_checkpointing": checkpointing,
    }  # fmt: skip
    if packing:
        stage["packing"] = {"length": packing}
    return {
        "name": "benchmark",
        "model": {"path": str(material / "model")},
        "data": {"rows": {"kind": "file", "path": str(material / "rows.vitrail.jsonl")}},
        "stages": [stage],
        "report": {"gallery": 0},
    }


def main() -> None:
    """Train and write the result."""
    parser = timing.arguments()
    parser.add_argument("--packing", type=int, help="pack records into rows of so many tokens")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    timer = timing.Timer()
    transformers.trainer.DEFAULT_CALLBACKS.append(timer)
    begin = time.perf_counter()
    run = vitrail.train(
        recipe(args.material.resolve(), args.batch, args.rate, args.packing, args.checkpointing),
        run_folder=args.out / "run",
        progress=None,
    )
    whole = time.perf_counter() - begin
    lines = (args.out / "run/stages/tune/metrics.jsonl").read_text().splitlines()
    timing.write(
        args.out / "result.json", timing.differences(timer.ends), [json.loads(line)["loss"] for line in lines],
        versions={
            "vitrail": vitrail.__version__, "transformers": transformers.__version__, "torch": torch.__version__
        },
        model=str(run.model), whole_seconds=whole,
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""lmms-eval over the material, by its own evaluator and its ``llava_hf``."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lmms_eval import evaluator
from lmms_eval.models.simple.llava_hf import LlavaHf
from lmms_eval.tasks import TaskManager

spent = {"seconds": 0.0, "processor_seconds": 0.0}


def timed(name: str) -> None:
    """Measure a method of the model: all questions, from opening a picture to the answer as text, nothing else."""
    method = getattr(LlavaHf, name)

    def measured(self: Any, requests: Any) -> Any:
        begun, processor = time.perf_counter(), time.process_time()
        try:
            return method(self, requests)
        finally:
            spent["seconds"] += time.perf_counter() - begun
            spent["processor_seconds"] += time.process_time() - processor

    setattr(LlavaHf, name, measured)


def main() -> None:
    """Ask everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mode", choices=("generate", "ranking"), required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in ("generate_until", "loglikelihood"):
        timed(name)
    found = evaluator.simple_evaluate(
        model="llava_hf",
        model_args=f"pretrained={args.material / 'model'},dtype=float32,device_map=cpu",
        tasks=[f"vitrail_{args.mode}"],
        task_manager=TaskManager(include_path=str(args.material / "task"), include_defaults=False),
        batch_size=1,
        device="cpu",
        force_simple=True,
        log_samples=True,
        bootstrap_iters=0,
    )
    samples = sorted(found["samples"][f"vitrail_{args.mode}"], key=lambda sample: sample["doc_id"])
    if args.mode == "ranking":  # its likelihoods are losses: the least is the answer
        losses = [[float(one[0]) for one in sample["filtered_resps"]] for sample in samples]
        said: list[Any] = [values.index(min(values)) for values in losses]
    else:
        said = [str(sample["filtered_resps"][0]).strip() for sample in samples]
    versions = {name: version(name) for name in ("lmms_eval", "torch", "transformers")}
    (args.out / "result.json").write_text(json.dumps({**spent, "answers": said, "versions": versions}))


if __name__ == "__main__":
    main()

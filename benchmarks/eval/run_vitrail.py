"""vitrail over the material."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import torch
import transformers

import vitrail
from vitrail.data.readers import open_source
from vitrail.evaluation import Task, run_task
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.benchmark import LETTER

WAYS = {
    "generate": {**LETTER, "inferencer": {"name": "generate", "max_new_tokens": 8}},
    "ranking": {"inferencer": {"name": "likelihood", "normalise": "token", "end": True}},
}


def main() -> None:
    """Ask everything; what is measured begins with the loaded model and ends with the last answer on the disk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mode", choices=sorted(WAYS), required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bundle = vitrail.load(args.material / "model")
    source = open_source(str(args.material / "questions.jsonl"))
    shutil.rmtree(args.out / "answers", ignore_errors=True)
    begun, processor = time.perf_counter(), time.process_time()
    path = run_task(
        Task(name="asked", **WAYS[args.mode]),
        bundle,
        args.out / "answers",
        source=source,
        batch_size=args.batch,
    )
    seconds, busy = time.perf_counter() - begun, time.process_time() - processor
    answers = read_answers(path)
    said = [row["choice"] if args.mode == "ranking" else row["text"].strip() for row in answers.rows]
    versions = {
        "vitrail": vitrail.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    result = {
        "seconds": seconds, "processor_seconds": busy, "answers": said, "versions": versions,
        "run": answers.header["run"],
    }  # fmt: skip
    (args.out / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()

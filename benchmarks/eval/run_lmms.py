"""lmms-eval over the material, by its own evaluator and its ``llava_hf``.

When it ranks, ``llava_hf`` of 0.7.3 has its processor read the question alone, without the picture, to know where an
option begins. transformers 5.24 refuses that, and older ones count a picture as one token, so that its likelihoods are
of picture and question, too. Here the processor counts the picture's tokens as it did a moment before
(:func:`counting`), which takes no time worth mentioning; its likelihoods are then those of the option. What it found
reaches its judge as text, so that the task brings a judge of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from ast import literal_eval
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


def counting(model: Any) -> Any:
    """A processor that reads a text without its picture as if it had the picture of the call before."""
    processor, before = model._image_processor, {"tokens": 1}
    token = processor.tokenizer.convert_tokens_to_ids("<image>")

    def read(text: Any, images: Any = None, **rest: Any) -> Any:
        if images is None:
            return processor.tokenizer(
                [one.replace("<image>", "<image>" * before["tokens"]) for one in text], **rest
            )
        found = processor(text=text, images=images, **rest)
        before["tokens"] = int((found["input_ids"] == token).sum()) // len(images)
        return found

    return read


def ranks_options() -> None:
    """Have the model rank with such a processor."""
    rank = LlavaHf.loglikelihood

    def ranked(self: Any, requests: Any) -> Any:
        processor = self._image_processor
        self._image_processor = counting(self)
        try:
            return rank(self, requests)
        finally:
            self._image_processor = processor

    LlavaHf.loglikelihood = ranked


def main() -> None:
    """Ask everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mode", choices=("generate", "ranking"), required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ranks_options()
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
    if args.mode == "ranking":  # its likelihoods are losses, kept as text: the least is the answer
        losses = [
            [float(literal_eval(str(one))[0]) for one in sample["filtered_resps"]] for sample in samples
        ]
        said: list[Any] = [values.index(min(values)) for values in losses]
    else:
        said = [str(sample["filtered_resps"][0]).strip() for sample in samples]
    versions = {name: version(name) for name in ("lmms_eval", "torch", "transformers")}
    (args.out / "result.json").write_text(json.dumps({**spent, "answers": said, "versions": versions}))


if __name__ == "__main__":
    main()

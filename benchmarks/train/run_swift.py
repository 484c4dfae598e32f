"""One epoch of ms-swift over the material. Runs in an environment with ms-swift, not with vitrail."""

from __future__ import annotations

import os

os.environ.setdefault("USE_HF", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import swift
import timing
import torch
import transformers
from swift.pipelines import sft_main


def main() -> None:
    """Train and write the result."""
    args = timing.arguments().parse_args()
    torch.set_num_threads(args.threads)
    timer = timing.Timer()
    transformers.trainer.DEFAULT_CALLBACKS.append(timer)
    kept = []
    train = transformers.Trainer.train

    def keeping(self, *words, **named):
        kept.append(self.model)
        return train(self, *words, **named)

    transformers.Trainer.train = keeping
    sft_main([
        "--model", str(args.material / "model"), "--model_type", "llava1_5_hf", "--template", "llava1_5_hf",
        "--dataset", str(args.material / "rows.swift.jsonl"), "--split_dataset_ratio", "0",
        "--tuner_type", "full", "--freeze_vit", "true", "--freeze_aligner", "false", "--torch_dtype", "float32",
        "--num_train_epochs", "1", "--per_device_train_batch_size", str(args.batch),
        "--gradient_accumulation_steps", "1", "--learning_rate", str(args.rate), "--lr_scheduler_type", "constant",
        "--warmup_ratio", "0", "--weight_decay", "0", "--optim", "adamw_torch_fused",
        "--gradient_checkpointing", "false", "--max_length", "4096", "--logging_steps", "1", "--save_strategy", "no",
        "--output_dir", str(args.out / "run"), "--use_cpu", "true", "--bf16", "false", "--seed", "0",
        "--dataset_num_proc", "1", "--dataloader_num_workers", "0", "--report_to", "none", "--disable_tqdm", "true",
    ])  # fmt: skip
    kept[-1].save_pretrained(args.out / "trained")
    timing.write(
        args.out / "result.json", timing.differences(timer.ends), timer.losses,
        versions={
            "ms-swift": swift.__version__, "transformers": transformers.__version__, "torch": torch.__version__,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()

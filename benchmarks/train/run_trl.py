"""One epoch of TRL's SFTTrainer over the material. Runs in an environment with trl, not with vitrail."""

from __future__ import annotations

import timing
import torch
import transformers
import trl
from datasets import Image, Sequence, load_dataset


def main() -> None:
    """Train and write the result."""
    args = timing.arguments().parse_args()
    torch.set_num_threads(args.threads)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        args.material / "model", dtype=torch.float32
    )
    processor = transformers.AutoProcessor.from_pretrained(args.material / "model")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("vision_tower" not in name)
    rows = load_dataset("json", data_files=str(args.material / "rows.trl.jsonl"), split="train")
    rows = rows.cast_column("images", Sequence(Image()))
    settings = trl.SFTConfig(
        output_dir=str(args.out / "run"),
        per_device_train_batch_size=args.batch,
        num_train_epochs=1,
        learning_rate=args.rate,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        weight_decay=0.0,
        max_length=None,
        completion_only_loss=True,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        logging_steps=1,
        save_strategy="no",
        seed=0,
        disable_tqdm=True,
    )
    timer = timing.Timer()
    trainer = trl.SFTTrainer(
        model=model, args=settings, train_dataset=rows, processing_class=processor, callbacks=[timer]
    )
    trainer.train()
    model.save_pretrained(args.out / "trained")
    timing.write(
        args.out / "result.json", timing.differences(timer.ends), timer.losses,
        versions={"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__},
    )  # fmt: skip


if __name__ == "__main__":
    main()

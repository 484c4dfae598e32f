"""Trains a tiny stage on mixed records, alone or under torchrun. A program, not a test.

``FOLDER BATCH_SIZE BREAK_AT``
"""

from __future__ import annotations

import sys

from conftest import chat
from vitrail.models.testbeds import nano
from vitrail.objectives.next_token import NextToken
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


class Breaks(NextToken):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, model, batch):
        self.calls += 1
        if self.calls == self.at:
            raise RuntimeError("broken off on purpose")
        return super().forward(model, batch)


def dataset(bundle):
    """Records without pictures, with one, with two; the long ones are text, so some micro-batches have none."""
    return [
        bundle.encoder.encode(
            chat("what is it?" + " hm" * 20 * (i % 3 == 0), "a cat", images=i % 3, seed=i, id=f"r{i}")
        )
        for i in range(24)
    ]


def main() -> None:
    folder, batch_size, break_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    bundle = nano.build(seed=0)
    config = StageConfig(
        name="tiny",
        trains=("tower", "connector", "language"),
        max_steps=6,
        batch_size=batch_size,
        accumulation=2,
        learning_rate=1e-3,
        checkpoint_steps=2,
        precision="float32",
    )
    train_stage(
        bundle.model, dataset(bundle), bundle.collator(), Breaks(break_at), config, folder, device="cpu"
    )


if __name__ == "__main__":
    main()

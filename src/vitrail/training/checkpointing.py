"""transformers' Trainer with checkpoints that are whole or not there, and resume that is exact or refused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from vitrail.storage import atomic
from vitrail.training import checkpoints, sharding
from vitrail.training.companions import Companion
from vitrail.training.joint import Joint
from vitrail.training.metrics import Counters
from vitrail.training.selection import Selection
from vitrail.training.sharding import Sharded
from vitrail.training.stages import StageConfig


class CheckpointingTrainer(transformers.Trainer):
    """Replaces how the Trainer saves and what it reads back.

    A subclass sets ``config``, ``selection``, ``folder`` and ``counters`` before its own ``__init__`` ends.
    """

    config: StageConfig
    selection: Selection
    folder: Path
    counters: Counters
    last_saved: float = 0.0
    trunk: Path | None = None
    """The folder of the stage that this one continues."""
    companions: Sequence[Companion] = ()
    """What goes along with the stage and has a state of its own."""
    sharded: Sharded | None = None
    """The weights, where every process has a share of them."""

    @property
    def joint(self) -> Joint:
        """Model and objective, without wrappers."""
        return self.model  # type: ignore[return-value]

    def agreed(self, value: Any) -> Any:
        """The first process's value, on all of them."""
        if self.args.world_size == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def save_now(self) -> bool:
        """Whether it is time for a checkpoint after this step; the last needs none, the stage's result
        follows it."""
        step, config = self.state.global_step, self.config
        if step >= self.args.max_steps:
            return False
        if config.checkpoint_steps is not None and step % config.checkpoint_steps == 0:
            return True
        if config.checkpoint_minutes is None:
            return False
        return bool(self.agreed(time.monotonic() - self.last_saved >= 60 * config.checkpoint_minutes))

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        step = self.state.global_step
        self.accelerator.wait_for_everyone()
        with self._new_folder(self.folder / f"checkpoint-{step}") as place:
            if self.is_world_process_zero() or self.sharded is not None:  # shares come from all processes
                trained = checkpoints.trained_state(self.joint.model, self.selection)
                state = checkpoints.objective_state(self.joint.objective)
            if self.is_world_process_zero():
                checkpoints.save_tensors(place / "trained.safetensors", trained)
                if state:
                    checkpoints.save_tensors(place / "objective.safetensors", state)
                atomic.write_json(place / "progress.json", asdict(self.counters))
                self.state.save_to_json(str(place / "trainer_state.json"))
                for companion in self.companions:
                    companion.save(place)
            self._save_optimizer_and_scheduler(str(place))
            self._save_scaler(str(place))
            self._save_rng_state(str(place))
        if self.is_world_process_zero():
            checkpoints.prune(self.folder, self.config.checkpoints_kept)
        self.last_saved = time.monotonic()

    @contextmanager
    def _new_folder(self, path: Path) -> Iterator[Path]:
        """A folder that every process writes into and the first one puts in place."""
        if not self.is_world_process_zero():
            yield Path(self.agreed(None))
            self.accelerator.wait_for_everyone()
            self.accelerator.wait_for_everyone()
            return
        if path.exists():  # damaged: a whole one would have been resumed from
            checkpoints.remove(path)
        with atomic.new_folder(path) as place:
            self.agreed(str(place))
            yield place
            self.accelerator.wait_for_everyone()
            checkpoints.seal(place)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        place = Path(resume_from_checkpoint)
        checkpoints.load_trained(place / "trained.safetensors", self.joint.model, self.selection)
        checkpoints.load_objective(place / "objective.safetensors", self.joint.objective)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = self.optimizer_state()
        if self.is_world_process_zero():
            torch.save(state, Path(output_dir) / "optimizer.pt")
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")  # type: ignore[union-attr]

    def optimizer_state(self) -> dict[str, Any]:
        """The optimizer's state with whole tensors; where weights are sharded every process has to ask."""
        state = self.optimizer.state_dict()  # type: ignore[union-attr]
        return state if self.sharded is None else sharding.whole_state(state)

    def load_optimizer_state(self, path: Path) -> None:
        """Give the optimizer the state that a file holds."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        if self.sharded is not None:
            state = sharding.state_shares(state, self.optimizer)
        self.optimizer.load_state_dict(state)  # type: ignore[union-attr]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        place = Path(checkpoint)
        _require(place, "optimizer.pt", "scheduler.pt")
        self.load_optimizer_state(place / "optimizer.pt")
        state = torch.load(place / "scheduler.pt", map_location="cpu", weights_only=True)
        self.lr_scheduler.load_state_dict(state)  # type: ignore[union-attr]

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """This process's random states; where other processes wrote the checkpoint, new ones, the same each time."""
        if checkpoint is None:
            return
        world, number = self.args.world_size, self.args.process_index
        if len(list(Path(checkpoint).glob("rng_state*.pth"))) != world:
            key = np.random.SeedSequence(
                (self.args.seed, checkpoints.step_of(Path(checkpoint)), world, number)
            )
            transformers.set_seed(int(key.generate_state(1)[0]))
            return
        _require(Path(checkpoint), f"rng_state_{number}.pth" if world > 1 else "rng_state.pth")
        super()._load_rng_state(checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Refused: a stage keeps what trains, and the whole model is its owner's to save."""
        raise NotImplementedError("save the model itself with save_pretrained")


def _require(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise checkpoints.DamagedCheckpoint(
                f"{folder} has no {name}: going on without it would give another model. "
                "Restore it, or remove this checkpoint to go on from the one before."
            )

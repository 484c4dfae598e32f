"""transformers' Trainer with vitrail's loss, order of data, and log.

What is changed, and why:

- the loss is the objective's sums over the units of the whole step, over micro-batches and processes;
- the data loader yields the whole stage as one pass, so that a resumed stage skips numbers, never records;
- checkpoints are written whole or not at all, and hold what trains only (``checkpointing.py``);
- a row of ``metrics.jsonl`` for each step, cut back to the checkpoint on resume;
- a loss or gradient that is no number ends the stage, naming step and records, before anything is saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vitrail.objectives.objective import Loss
from vitrail.storage.log import JsonlLog
from vitrail.training import checkpoints, measuring, planning, trunks
from vitrail.training.checkpointing import CheckpointingTrainer
from vitrail.training.division import Division
from vitrail.training.feeding import RECORDS, AheadLoader, NamingCollator, Numbered
from vitrail.training.following import Follower, RoundsLoader
from vitrail.training.joint import Joint
from vitrail.training.measuring import StepTime
from vitrail.training.metrics import Counters, Tally
from vitrail.training.mixed_steps import mixed_rows, mixed_steps, mixing_of
from vitrail.training.optimiser import make_optimizer, make_schedule, parameter_groups
from vitrail.training.packed_batches import packed_collator
from vitrail.training.packing import Row, fewest_rows, packed_steps
from vitrail.training.progress import Meter, Progress
from vitrail.training.sampling import BatchSampler
from vitrail.training.selection import Selection
from vitrail.training.stages import StageConfig


class NonFiniteLoss(ArithmeticError):
    """The loss or the gradient became infinite or not a number."""


class StageTrainer(CheckpointingTrainer):
    """Runs one stage; :func:`vitrail.training.trainer.train_stage` makes it and says what the arguments
    are."""

    def __init__(
        self,
        joint: Joint,
        arguments: transformers.TrainingArguments,
        *,
        dataset: Sequence[Any],
        collator: Callable[[Sequence[Any]], dict[str, Any]],
        lengths: Sequence[int] | None,
        config: StageConfig,
        seed: int,
        division: Division,
        selection: Selection,
        folder: Path,
        progress: Progress,
    ) -> None:
        arguments._n_gpu = min(arguments.n_gpu, 1)  # never DataParallel: several devices are for torchrun
        self.config, self.data_seed, self.selection, self.folder = config, seed, selection, folder
        self.division = division
        self.lengths, self.progress = lengths, progress
        self.counters, self.tally = Counters(), Tally()
        collator = collator if config.packing is None else packed_collator(collator)
        self.records, self.collate = Numbered(dataset), NamingCollator(collator)
        self.log_file = JsonlLog(folder / "metrics.jsonl", sync_every=1000)
        self.rates: dict[str, float] = {}
        super().__init__(model=joint, args=arguments, data_collator=self.collate, train_dataset=self.records)
        # A micro-batch's loss is already its share of the step; releases differ in which of these they read.
        self.loss_is_scaled_for_ga = True
        self.model_accepts_loss_kwargs = True
        self.remove_callback(transformers.PrinterCallback)
        self.remove_callback(transformers.ProgressCallback)
        self.add_callback(_EachStep(self))

    def begin(self, checkpoint: Path | None) -> None:
        """Take counters and log back to ``checkpoint`` (None: to the start)."""
        self.counters = Counters() if checkpoint is None else Counters.read(checkpoint / "progress.json")
        step = self.counters.step
        if self.is_world_process_zero():
            self.log_file.truncate_after(lambda row: row["step"] <= step)
        for companion in self.companions:
            companion.begin(self, checkpoint)
        self.meter = Meter(self.args.max_steps, step, self.counters.samples, self.counters.tokens)
        self.clock = self.last_saved = time.monotonic()

    # Data

    @property
    def sampler(self) -> BatchSampler:
        """The micro-batches of this process, for ``args.max_steps`` steps."""
        return BatchSampler(
            len(self.records),
            steps=self.args.max_steps,
            batch_size=self.config.batch_size,
            accumulation=self.config.accumulation,
            seed=self.data_seed,
            lengths=self.lengths,
            rank=self.args.process_index,
            world=self.args.world_size,
            order=self._order(),
            division=self.division,
        )

    def _order(self) -> Callable[[int], Iterator[Any]] | None:
        """Steps other than the usual ones: of packed rows, or of a mixture."""
        if self.config.packing is not None:
            return self._packed
        mixing = mixing_of(self.records.records)
        if mixing is None:
            return None
        if mixing.rule.follows and not any(isinstance(one, Follower) for one in self.companions):
            raise ValueError("a mixture that follows losses needs a Follower among the stage's companions")
        by_length = self.config.length_batches
        return lambda size: mixed_steps(mixing, size, self.data_seed, by_length)

    def _packed(self, size: int) -> Iterator[list[Row]]:
        assert self.config.packing is not None and self.lengths is not None
        if (mixing := mixing_of(self.records.records)) is not None:
            return mixed_rows(mixing, size, self.data_seed, self.config.packing)
        return packed_steps(self.lengths, size, self.data_seed, self.config.packing)

    def get_train_dataloader(self) -> DataLoader:
        """The whole stage as one pass over micro-batches."""
        followers = [one for one in self.companions if isinstance(one, Follower)]
        if followers:
            self.args.ignore_data_skip = True  # the rounds begin behind the steps already made
            return RoundsLoader(self, followers[0])  # type: ignore[return-value]
        if not self.config.ahead:
            return self.loader(self.sampler)
        self.args.ignore_data_skip = True  # the loader skips numbers itself
        found: Any = self.loader(self.sampler)
        found.begun = lambda: self.counters.step * self.division.micro_batches
        return found

    def loader(self, batches: Any) -> DataLoader:
        """Micro-batches as they are fed; ``batches`` are the numbers of their records."""
        if self.config.ahead:
            return AheadLoader(self.records, self.collate, batches, self.config.ahead)  # type: ignore[return-value]
        return DataLoader(
            self.records,
            batch_sampler=batches,
            collate_fn=self.collate,
            num_workers=self.args.dataloader_num_workers,
            generator=torch.Generator().manual_seed(self.data_seed),
            pin_memory=self.args.device.type == "cuda",
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], int | None]:
        """The micro-batches of an optimiser step; the units of each term are counted over all of them."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        self.joint.objective.at(self.state.global_step + 1, self.args.max_steps)
        self._open_step(batches)
        return batches, max(sum(self.tally.totals.values()), 1)

    def _open_step(self, batches: list[dict[str, Any]]) -> None:
        totals: dict[str, int] = {}
        for batch in batches:
            for term, units in self.joint.objective.counts(batch).items():
                totals[term] = totals.get(term, 0) + units
        self.tally = Tally(self._over_processes(totals), len(batches))

    def _prepare_input(self, data: Any) -> Any:
        if isinstance(data, str):
            return data
        if not isinstance(data, Tensor) and hasattr(data, "to") and hasattr(data, "segment"):
            return data.to(self.args.device)  # a layout
        return super()._prepare_input(data)

    # Loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """This micro-batch's share of the step's loss, so that adding the shares gives the large batch's."""
        records, world = inputs[RECORDS], self.args.world_size
        with (
            nullcontext() if self.sharded is None else self.accelerator.autocast()
        ):  # else accelerate's wrapper does
            loss = model({name: value for name, value in inputs.items() if name != RECORDS})
        self._check_terms(loss)
        # Data parallelism averages gradients over processes; the units are those of all processes.
        totals = {term: units / world for term, units in self.tally.totals.items()}
        total = loss.total(totals, self.tally.micro_batches)
        if not bool(torch.isfinite(total.detach())):
            found = ", ".join(f"{term} {float(value.detach()):g}" for term, value in loss.sums.items())
            raise self._not_finite(
                f"the loss is {total.item()} ({found})", self.state.global_step + 1, records
            )
        self.tally.add(loss, inputs, records)
        return (total, loss) if return_outputs else total

    def _check_terms(self, loss: Loss) -> None:
        unknown = sorted(loss.sums.keys() - set(self.joint.objective.terms))
        if unknown:
            raise ValueError(f"the objective returned a term {unknown[0]!r} that its 'terms' do not name")

    def _not_finite(self, what: str, step: int, records: Sequence[str]) -> NonFiniteLoss:
        kept = [path.name for path in checkpoints.existing(self.folder)]
        return NonFiniteLoss(
            f"stage {self.config.name!r}, step {step}: {what}; records of the batch: {', '.join(records)}. "
            f"Checkpoints kept: {', '.join(kept) or 'none'}. "
            "Lower learning_rate, lengthen warmup, or look at these records with `vitrail data look`."
        )

    # What each step leaves behind

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A step's row of ``metrics.jsonl`` and its report; then the trackers."""
        if "loss" in logs:
            row, records = self._row(logs), self.tally.records
            norm = row["grad_norm"]
            if norm is not None and not math.isfinite(norm):
                raise self._not_finite(f"the gradient's norm is {norm}", row["step"], records)
            if self.is_world_process_zero():
                self.log_file.append(row)
                self.progress.step(self.meter.report(row))
            logs = {
                **logs,
                "loss": row["loss"],
                **{f"loss/{term}": value for term, value in row["terms"].items()},
            }
        super().log(logs, start_time)
        self.state.log_history.clear()  # it would grow with every checkpoint; metrics.jsonl has it all

    def _row(self, logs: dict[str, float]) -> dict[str, Any]:
        tally, counters = self.tally, self.counters
        world = self.args.world_size
        means = {term: tally.mean(term, self._summed(value), world) for term, value in tally.sums.items()}
        seen = self._over_processes(
            {"samples": len(tally.records), "tokens": tally.tokens, "places": tally.places}
        )
        now = time.monotonic()
        counters.step = self.state.global_step
        counters.samples += seen["samples"]
        counters.tokens += seen["tokens"]
        counters.places += seen["places"]
        counters.seconds = round(counters.seconds + now - self.clock, 4)
        self.clock = now
        norm = logs.get("grad_norm")
        return {
            "step": counters.step,
            "loss": tally.weighted(means),
            "terms": means,
            "learning_rate": next(iter(self.rates.values())),
            **({"learning_rates": self.rates} if len(self.rates) > 1 else {}),
            "grad_norm": None if norm is None else float(norm),
            "samples": counters.samples,
            "tokens": counters.tokens,
            "places": counters.places,
            "seconds": counters.seconds,
        }

    def _summed(self, value: Tensor) -> float:
        return float(self.accelerator.reduce(value.clone(), "sum") if self.args.world_size > 1 else value)

    def _over_processes(self, counts: dict[str, int]) -> dict[str, int]:
        if self.args.world_size == 1 or not counts:
            return counts
        summed = self.accelerator.reduce(torch.tensor(list(counts.values()), device=self.args.device), "sum")
        return dict(zip(counts, (int(value) for value in summed), strict=True))

    # Optimiser

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Groups by part, from the stage."""
        if self.optimizer is None:
            self.optimizer = self._fresh_optimizer()
        return self.optimizer

    def _fresh_optimizer(self) -> torch.optim.Optimizer:
        groups = parameter_groups(self.joint.model, self.selection, self.joint.objective, self.config)
        return make_optimizer(groups, self.args, self.joint)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The stage's schedule."""
        if self.lr_scheduler is None:
            self.lr_scheduler = make_schedule(optimizer or self.optimizer, self.config, num_training_steps)
            self._created_lr_scheduler = True
            if (
                self.trunk is not None
            ):  # a checkpoint that is resumed from is read after this, and overrides it
                trunks.go_on(self, self.trunk)
        return self.lr_scheduler

    # Measuring

    def step_time(self) -> StepTime:
        """Run a few steps for real (data, forward, backward, optimiser) and put everything back."""
        steps = self._steps_to_time()
        seconds = measuring.SHARE * 60 * (self.config.max_minutes or math.inf)
        with planning.putting_back(self.joint):
            optimizer = self._fresh_optimizer()
            self.joint.train()
            return measuring.measure(lambda step: self._try(step, optimizer), steps, seconds, self.agreed)

    def _steps_to_time(self) -> Sequence[Any]:
        size, packing = self.sampler.size, self.config.packing
        if packing is None:
            return planning.batches_to_time(len(self.records), size, self.data_seed, self.lengths)
        assert self.lengths is not None
        return planning.rows_to_time(self._packed(size), fewest_rows(self.lengths, packing), self.lengths)

    def _try(self, step: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        batches = [self.collate([self.records[index] for index in part]) for part in self.sampler.split(step)]
        self._open_step(batches)
        for batch in batches:
            with self.accelerator.autocast():
                loss = self.compute_loss(self.joint, self._prepare_inputs(batch))
            loss.backward()
        if self.config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.joint.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        if self.args.device.type == "cuda":
            torch.cuda.synchronize()


class _EachStep(transformers.TrainerCallback):
    """Notes the learning rates a step is made with, and asks for checkpoints by steps and by the clock."""

    def __init__(self, trainer: StageTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Read the rates before the schedule moves on."""
        groups = self.trainer.create_optimizer().param_groups
        self.trainer.rates = {group["part"]: float(group["lr"]) for group in groups}
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Let companions see the step, and set ``should_save``."""
        step = self.trainer.state.global_step
        for companion in self.trainer.companions:
            companion.after_step(self.trainer, step, step >= self.trainer.args.max_steps)
        control.should_save = self.trainer.save_now()
        return control

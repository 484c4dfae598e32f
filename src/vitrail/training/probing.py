"""Losses on other data while a stage runs: what is forgotten, what is learnt, and where.

Each probe is a forward over some records of a data source, without dropout, without a gradient, and without drawing
from the stage's random state: the trajectory with probes equals that without. Two figures a source: ``loss``, nats a
labelled token (the mean over all of them), and ``right``, the share of records of whose labelled tokens every one is
the likeliest, given those before it. Rows go to ``probes.jsonl`` in the stage's folder: before the first step, every so
many steps, and after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from vitrail.data.mixtures.rule import interval
from vitrail.storage.log import JsonlLog

if TYPE_CHECKING:
    from torch import nn

FILE = "probes.jsonl"


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Probes(BaseModel):
    """``every`` so many steps, losses on the first ``records`` of each of ``data`` (names of data sources).

    ``every`` below 1 is a share of the stage's steps. ``batch_size`` records go through the model together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(min_length=1)
    every: float = Field(gt=0, allow_inf_nan=False)
    records: int = Field(default=64, ge=1)
    batch_size: int = Field(default=16, ge=1)

    @field_validator("every")
    @classmethod
    def _whole_or_share(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("must be a share below 1 or a whole number of steps")
        return value

    def interval(self, steps: int) -> int:
        """Steps from one probe to the next, in a stage of ``steps``."""
        return interval(self.every, steps)


class Prober:
    """Measures a model on ``sources``: by name, encoded records.

    ``collator`` makes a batch of records; ``prepare`` moves it to the device; ``around`` gives a context to compute in
    (autocast).
    """

    def __init__(
        self,
        sources: Mapping[str, Sequence[Any]],
        collator: Callable[[Sequence[Any]], dict[str, Any]],
        *,
        records: int = 64,
        batch_size: int = 16,
        prepare: Callable[[dict[str, Any]], dict[str, Any]] = lambda batch: batch,
        around: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        empty = [name for name, rows in sources.items() if not len(rows)]
        if empty:
            raise ValueError(f"probes: {empty[0]!r} has no record; give a source that has some")
        self.sources = {name: min(records, len(rows)) for name, rows in sources.items()}
        self._rows, self.collator, self.batch_size = dict(sources), collator, batch_size
        self.prepare, self.around = prepare, around
        self.sharded: Any = None

    def attach(self, trainer: Any) -> None:
        """Compute as ``trainer`` does: on its device, in its precision."""
        self.prepare, self.around = trainer._prepare_inputs, trainer.accelerator.autocast
        self.sharded = trainer.sharded

    def measure(self, model: nn.Module) -> dict[str, dict[str, float]]:
        """``loss`` and ``right`` of each source. The model and all random states are left as they were."""
        import contextlib

        import torch

        modes = [(module, module.training) for module in model.modules()]
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
        try:
            model.eval()
            around = self.around or contextlib.nullcontext
            with torch.random.fork_rng(devices=devices), torch.no_grad(), around():
                return {name: self._measure(model, name) for name in self.sources}
        finally:
            for module, mode in modes:
                module.training = mode

    def _measure(self, model: nn.Module, name: str) -> dict[str, float]:
        rows, count = self._rows[name], self.sources[name]
        loss = tokens = right = 0.0
        for begin in range(0, count, self.batch_size):
            part = [rows[index] for index in range(begin, min(begin + self.batch_size, count))]
            batch = self.prepare(self.collator(part))
            read = self.sharded.read if self.sharded is not None else None
            sums = _batch_sums(model, batch) if read is None else read(batch, _batch_sums)
            loss, tokens, right = loss + sums[0], tokens + sums[1], right + sums[2]
        if not tokens:
            raise ValueError(f"probes: nothing is to be learnt in the records of {name!r}; give other ones")
        return {"loss": loss / tokens, "right": right / count}


def _batch_sums(model: nn.Module, batch: dict[str, Any]) -> tuple[float, float, float]:
    """Summed loss, labelled tokens, and rows that are right throughout."""
    import torch

    from vitrail.models.logits import logits_at, shifted
    from vitrail.objectives.objective import model_inputs

    keep, targets = shifted(batch["labels"])
    logits = logits_at(model, keep, **model_inputs(model, batch)).logits.float()
    wrong = torch.zeros(keep.shape, dtype=torch.bool, device=keep.device)
    wrong[keep] = logits.argmax(-1) != targets
    right = (~wrong.any(1) & keep.any(1)).sum()
    return (
        float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum")),
        len(targets),
        float(right),
    )


class ProbeLog:
    """A stage's ``probes.jsonl``: measured as the stage says, cut back to a checkpoint on resume."""

    def __init__(self, config: Probes, prober: Prober, folder: Path) -> None:
        self.config, self.prober = config, prober
        self.log = JsonlLog(folder / FILE)

    def begin(self, trainer: Any, checkpoint: Path | None) -> None:
        """Cut the log back to the checkpoint; a stage that begins is measured before its first step."""
        self.prober.attach(trainer)
        step = trainer.counters.step
        if trainer.is_world_process_zero():
            self.log.truncate_after(lambda row: row["step"] <= step)
        if step == 0:
            self._write(trainer, step)

    def after_step(self, trainer: Any, step: int, last: bool) -> None:
        """Measure, if it is time."""
        if last or step % self.config.interval(trainer.args.max_steps) == 0:
            self._write(trainer, step)

    def _write(self, trainer: Any, step: int) -> None:
        found = self.prober.measure(trainer.joint.model)
        if trainer.is_world_process_zero() and step not in {row["step"] for row in self.log.read()}:
            self.log.append({"step": step, **found})

    def save(self, place: Path) -> None:
        """Nothing beside the log."""

    def close(self) -> None:
        """Give the log back."""
        self.log.close()


def read_probes(folder: Path) -> list[dict[str, Any]]:
    """The rows of a stage's folder, oldest first; none where nothing was probed."""
    return JsonlLog(Path(folder) / FILE).read()

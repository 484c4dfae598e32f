"""What a running stage shows: a live line, plain lines, JSON lines, or nothing.

Anything with the methods of :class:`Progress` can listen.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TextIO

SMOOTHING = 0.95


@dataclass(frozen=True)
class StageStart:
    """A stage that begins or goes on behind step ``done``."""

    name: str
    steps: int
    done: int
    trained_parameters: int
    parameters: int
    precision: str
    device: str


@dataclass(frozen=True)
class StepReport:
    """One optimiser step. ``smoothed`` is the loss as a running mean; rates are of the last steps; times in
    seconds."""

    step: int
    steps: int
    loss: float
    smoothed: float
    terms: dict[str, float]
    learning_rate: float
    samples_per_second: float
    tokens_per_second: float
    seconds: float
    seconds_left: float


class Progress(Protocol):
    """Listens to a stage."""

    def start(self, stage: StageStart) -> None:
        """The stage begins."""

    def step(self, report: StepReport) -> None:
        """A step was made."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def end(self, stage: str) -> None:
        """The stage is over, finished or broken off."""


def make_progress(
    kind: Literal["auto", "live", "lines", "json", "none"] = "auto", stream: TextIO | None = None
) -> Progress:
    """The listener for a terminal (``live``), a log file (``lines``), a program (``json``), or nobody.

    ``auto`` asks whether ``stream`` (default: standard error) is a terminal.
    """
    stream = stream if stream is not None else sys.stderr
    if kind == "auto":
        kind = "live" if stream.isatty() else "lines"
    if kind == "live":
        return LiveProgress(stream)
    if kind == "lines":
        return LineProgress(stream)
    return JsonProgress(stream) if kind == "json" else QuietProgress()


class QuietProgress:
    """Says nothing."""

    def start(self, stage: StageStart) -> None:
        """Nothing."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self, stage: str) -> None:
        """Nothing."""


class LineProgress:
    """One plain line every ``every`` seconds, and at the last step."""

    def __init__(self, stream: TextIO, every: float = 5.0) -> None:
        self.stream, self.every = stream, every
        self._name, self._last = "", 0.0

    def start(self, stage: StageStart) -> None:
        """A line of what begins."""
        self._name, self._last = stage.name, time.monotonic()
        begun = f", continued behind step {stage.done}" if stage.done else ""
        self._say(
            f"{stage.steps} steps, {stage.trained_parameters:,} of {stage.parameters:,} parameters train, "
            f"{stage.precision} on {stage.device}{begun}"
        )

    def step(self, report: StepReport) -> None:
        """A line, if it is time for one."""
        now = time.monotonic()
        if report.step < report.steps and now - self._last < self.every:
            return
        self._last = now
        self._say(f"step {report.step}/{report.steps}  {numbers(report)}")

    def note(self, text: str) -> None:
        """The text."""
        self._say(text)

    def end(self, stage: str) -> None:
        """Later notes belong to no stage."""
        self._name = ""

    def _say(self, text: str) -> None:
        print(f"{self._name}: {text}" if self._name else text, file=self.stream, flush=True)


class JsonProgress:
    """A JSON object a line: ``{"event": "start" | "step" | "note" | "end", …}``."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def start(self, stage: StageStart) -> None:
        """All fields of the stage."""
        self._say("start", **asdict(stage))

    def step(self, report: StepReport) -> None:
        """All fields of the report."""
        self._say("step", **asdict(report))

    def note(self, text: str) -> None:
        """The text."""
        self._say("note", text=text)

    def end(self, stage: str) -> None:
        """The stage's name."""
        self._say("end", name=stage)

    def _say(self, event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), file=self.stream, flush=True)


class LiveProgress:
    """A bar with loss, rates and time left, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._bar: Any = None
        self._task: Any = None

    def start(self, stage: StageStart) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        text = "[bold]{task.description}[/] {task.completed:.0f}/{task.total:.0f}  {task.fields[numbers]}"
        columns = (BarColumn(12), TextColumn(text))  # fits into 80 columns
        self._bar = Bar(*columns, console=Console(file=self.stream), refresh_per_second=4)
        self._task = self._bar.add_task(stage.name, total=stage.steps, completed=stage.done, numbers="")
        self._bar.start()

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=report.step, numbers=numbers(report))

    def note(self, text: str) -> None:
        """The text above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)

    def end(self, stage: str) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def numbers(report: StepReport) -> str:
    """Loss, rates and time left in one line."""
    return (
        f"loss {report.smoothed:.4f}  {report.samples_per_second:.1f} samples/s  "
        f"{report.tokens_per_second:,.0f} tokens/s  {clock(report.seconds_left)} left"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Meter:
    """Turns counts and times into :class:`StepReport` values: smoothed loss, recent rates, time left."""

    def __init__(self, steps: int, step: int = 0, samples: int = 0, tokens: int = 0) -> None:
        self.steps = steps
        self._loss = self._weight = 0.0
        self._recent = [(time.monotonic(), step, samples, tokens)]

    def report(self, row: dict[str, Any], now: float | None = None) -> StepReport:
        """The report of a row of ``metrics.jsonl``, seen at ``now`` (seconds on a monotonic clock)."""
        now = time.monotonic() if now is None else now
        self._loss = SMOOTHING * self._loss + (1 - SMOOTHING) * row["loss"]
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        self._recent = [*self._recent[-20:], (now, row["step"], row["samples"], row["tokens"])]
        first, last = self._recent[0], self._recent[-1]
        passed = max(last[0] - first[0], 1e-9)
        per_step = passed / max(last[1] - first[1], 1)
        return StepReport(
            step=row["step"],
            steps=self.steps,
            loss=row["loss"],
            smoothed=self._loss / self._weight,
            terms=row["terms"],
            learning_rate=row["learning_rate"],
            samples_per_second=(last[2] - first[2]) / passed,
            tokens_per_second=(last[3] - first[3]) / passed,
            seconds=row["seconds"],
            seconds_left=per_step * (self.steps - row["step"]),
        )

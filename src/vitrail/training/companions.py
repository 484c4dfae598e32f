"""What goes along with a stage: told of its beginning and its steps, and asked for its state at each checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Companion(Protocol):
    """A listener with a state of its own, which resumes as exactly as the stage does."""

    def begin(self, trainer: Any, checkpoint: Path | None) -> None:
        """The stage is about to begin, or to go on from ``checkpoint``."""

    def after_step(self, trainer: Any, step: int, last: bool) -> None:
        """Step number ``step`` (counted from 1) has been made; a checkpoint, if any, is taken behind this."""

    def save(self, place: Path) -> None:
        """Write what going on takes into the checkpoint's folder; on the first process alone."""

    def close(self) -> None:
        """The stage is over, finished or broken off."""

"""A benchmark as a recipe's data: its questions, for an evaluation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vitrail.settings.component import require_known


class Benchmark(BaseModel):
    """A benchmark's questions, for an evaluation (``vitrail eval list`` names them).

    ``path`` is the folder of its official files, which composed ones do not have; ``settings`` are its own. ``n`` takes
    the first so many; ``circular`` asks under every rotation of the options, default as its protocol says. The
    evaluation's instruction, inferencer and metric say how it is asked (docs/evaluation.md has the official ways).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["benchmark"] = "benchmark"
    benchmark: str
    path: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    n: int | None = Field(default=None, ge=1)
    circular: bool | None = None

    @field_validator("benchmark")
    @classmethod
    def _registered(cls, benchmark: str) -> str:
        require_known("benchmark", benchmark)
        return benchmark

    def open(self) -> Any:
        """The questions. ValueError for settings or files that do not fit."""
        from vitrail.evaluation.scenarios import BenchmarkScenario

        fields = self.model_dump(exclude={"kind"})
        return BenchmarkScenario(BenchmarkScenario.Config(**fields)).source()

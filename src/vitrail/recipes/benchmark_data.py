"""A benchmark as a recipe's data: its questions for an evaluation, and those of a composed one for a stage, too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vitrail.settings.component import require_known
from vitrail.settings.faults import inner_errors


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


class Composed(BaseModel):
    """Questions of a composed benchmark (``offline_…``): an evaluation asks them, a stage learns their right options.

    ``settings`` are the benchmark's own (``suite``, ``kinds``, ``names`` …); ``seed`` draws them, as with scenes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["composed"] = "composed"
    benchmark: str
    fold: Literal["train", "development", "test"] = "train"
    n: int = Field(default=1000, ge=2)
    seed: int | None = Field(default=None, ge=0)
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_composed(self) -> Composed:
        require_known("benchmark", self.benchmark)
        if not self.benchmark.startswith("offline_"):
            why = "it has files of its own, which are asked, not trained on; give kind: benchmark, or an offline_ one"
            raise inner_errors([(("benchmark",), why, self.benchmark)])
        own = sorted({"fold", "n", "seed"} & set(self.settings))
        if own:
            why = "it stands beside 'settings', not in them; move it out"
            raise inner_errors([(("settings", own[0]), why, self.settings[own[0]])])
        return self

    def open(self, seed: int) -> Any:
        """The questions, drawn with ``seed``. ValueError for settings that do not fit."""
        from vitrail.evaluation.scenarios import BenchmarkScenario

        settings = {**self.settings, "fold": self.fold, "n": self.n, "seed": seed}
        config = BenchmarkScenario.Config(benchmark=self.benchmark, settings=settings)
        return BenchmarkScenario(config).source()

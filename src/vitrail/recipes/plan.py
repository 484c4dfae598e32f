"""What a recipe will take, before anything is loaded or run: parameters, tokens, operations, memory, time.

Shapes come from the meta device, lengths from a sample of the data, and the machine's speed from a matrix
product timed for half a second. Times are estimates (a training step reaches about ``EFFICIENCY`` of that
product's speed on a CPU); everything else is exact or says what it was measured on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from vitrail.recipes.assembly import on_meta
from vitrail.recipes.schema import Recipe
from vitrail.recipes.sources import open_data

EFFICIENCY = 0.5
SAMPLE = 32  # records whose lengths are looked at
CHARACTERS_A_TOKEN = 4.0  # English text with a vocabulary of 32,000 and more
TEMPLATE_TOKENS = 5  # a turn's own: begin, role, line break, end, line break


@dataclass(frozen=True)
class Lengths:
    """Mean numbers of a source's records, from a sample of ``sampled``: tokens, labelled tokens, pictures."""

    tokens: float
    labelled: float
    pictures: float
    sampled: int


@dataclass(frozen=True)
class StagePlan:
    """One stage. Bytes are of the whole process; ``seconds`` None where the machine was not measured."""

    name: str
    objective: str
    data: str
    records: int
    trained: dict[str, int]
    lengths: Lengths
    batch_size: int
    steps: int | None
    budget: str
    flops_a_step: float
    memory: dict[str, float]
    seconds: float | None


@dataclass(frozen=True)
class EvaluationPlan:
    """One evaluation: how many questions, under how many conditions."""

    name: str
    data: str
    questions: int
    conditions: tuple[str, ...]
    flops: float
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """The whole. ``parts`` are rows of part, kind, parameters."""

    recipe: str
    parts: list[dict[str, Any]]
    anatomy: dict[str, Any]
    flops_a_second: float | None
    tower_flops_an_image: float
    stages: list[StagePlan] = field(default_factory=list)
    evaluation: list[EvaluationPlan] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Of all parts, adapters included."""
        return sum(part["parameters"] for part in self.parts)

    @property
    def peak_bytes(self) -> float:
        """Memory of the most demanding stage."""
        return max((sum(stage.memory.values()) for stage in self.stages), default=4.0 * self.parameters)

    @property
    def seconds(self) -> float | None:
        """Estimated time of all stages and evaluations, or None where the machine was not measured."""
        times = [stage.seconds for stage in self.stages] + [one.seconds for one in self.evaluation]
        return sum(time for time in times if time is not None) if None not in times else None

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        derived = {"parameters": self.parameters, "peak_bytes": self.peak_bytes, "seconds": self.seconds}
        return {**asdict(self), **derived}


def plan(recipe: Recipe, measure_speed: bool = True) -> Plan:
    """Plan ``recipe``. ``measure_speed=False`` leaves times out (and makes the plan the same everywhere).

    ValueError where data or a model's configuration is not there.
    """
    from vitrail.models import anatomy
    from vitrail.recipes.anatomy_text import picture_tokens

    model = on_meta(recipe.model)
    tokens = picture_tokens(model)
    rate = _rate(model) if measure_speed else None
    planner = _Planner(recipe, model, tokens, rate)
    return Plan(
        recipe=recipe.name,
        parts=[
            {"part": row.name, "kind": row.kind, "parameters": row.parameters}
            for row in anatomy.counts(model)
        ],
        anatomy=tokens,
        flops_a_second=rate,
        tower_flops_an_image=planner.tower_flops,
        stages=[planner.stage(stage) for stage in recipe.stages],
        evaluation=[planner.evaluation(one) for one in recipe.evaluation],
    )


def _rate(model: Any) -> float:
    from vitrail.recipes.costs import matmul_rate

    text = model.config.get_text_config()
    return matmul_rate(text.hidden_size, getattr(text, "intermediate_size", 4 * text.hidden_size))


class _Planner:
    """What the stages of one recipe share: shapes, speed, and lengths already looked at."""

    def __init__(self, recipe: Recipe, model: Any, tokens: dict[str, Any], rate: float | None) -> None:
        from vitrail.recipes.costs import tower_flops

        self.recipe, self.model, self.tokens, self.rate = recipe, model, tokens, rate
        side = tokens.get("image_size", 0)
        self.tower_flops = tower_flops(model.tower, (side, side)) if side else 0.0
        self.sources: dict[tuple[str, str], tuple[int, Lengths]] = {}
        self.seen: set[str] = set()

    def lengths(self, name: str, use: Any) -> tuple[int, Lengths]:
        """Number of records of a source, and their lengths."""
        if (name, use) not in self.sources:
            source = open_data(self.recipe, name, use)
            lengths = sample_lengths(source, self.tokens.get("tokens_an_image", 0))
            self.sources[name, use] = len(source), lengths
        return self.sources[name, use]

    def stage(self, stage: Any) -> StagePlan:
        """The plan of one stage."""
        records, lengths = self.lengths(stage.data, "conversations")
        trained = self._freeze(stage.trains)
        steps, budget = _steps(stage, records)
        cost = self._step_cost(stage, lengths, trained)
        seconds = None
        if self.rate is not None:
            a_step = cost.flops / (self.rate * EFFICIENCY)
            seconds = a_step * steps if steps is not None else math.inf
            if stage.max_minutes is not None:
                seconds = min(seconds, 60 * stage.max_minutes)
            seconds += self._tower_seconds(stage.data, records * lengths.pictures, trained)
        trained_count = sum(trained.values())
        total = sum(parameter.numel() for parameter in self.model.parameters())
        return StagePlan(
            name=stage.name,
            objective=_name_of(stage.objective),
            data=stage.data,
            records=records,
            trained=trained,
            lengths=lengths,
            batch_size=stage.records_a_step,
            steps=steps,
            budget=budget,
            flops_a_step=cost.flops,
            memory={
                "weights": 4.0 * total,
                "gradients": 4.0 * trained_count,
                "optimiser": 8.0 * trained_count,
                "activations": cost.activation_bytes,
            },
            seconds=seconds,
        )

    def evaluation(self, evaluation: Any) -> EvaluationPlan:
        """The plan of one evaluation: a forward of every question with its options, once a condition."""
        from vitrail.recipes.costs import language_cost

        records, lengths = self.lengths(evaluation.data, "questions")
        self.model.requires_grad_(False)
        one = language_cost(
            self.model, 1, max(round(lengths.tokens), 1), 4, inputs_need_gradients=False
        ).flops
        conditions = self.recipe.conditions_of(evaluation)
        flops = one * records * len(conditions)
        pictures = records * lengths.pictures * len(conditions) * self.tower_flops
        seconds = None if self.rate is None else (flops + pictures) / (self.rate * EFFICIENCY)
        return EvaluationPlan(evaluation.name, evaluation.data, records, conditions, flops, seconds)

    def _freeze(self, trains: Any) -> dict[str, int]:
        """Set ``requires_grad`` as in the stage; returns the trained parameters of each part."""
        from vitrail.models import anatomy
        from vitrail.training.selection import select_parameters

        select_parameters(self.model, trains)
        return {row.name: row.trained for row in anatomy.counts(self.model)}

    def _step_cost(self, stage: Any, lengths: Lengths, trained: dict[str, int]) -> Any:
        from vitrail.recipes.costs import connector_cost, language_cost, tower_cost

        batch, pictures = stage.batch_size, round(stage.batch_size * lengths.pictures)
        grid = tuple(self.tokens["tower_grid"])
        cost = connector_cost(_on_cpu(self.model), grid, self.model.tower.width, pictures)
        if trained.get("tower", 0):
            side = self.tokens["image_size"]
            cost = cost + tower_cost(self.model.tower, (side, side), pictures)
        if _needs_language(stage.objective):
            upstream = bool(trained.get("connector", 0) or trained.get("tower", 0))
            tokens, labelled = max(round(lengths.tokens), 1), round(batch * lengths.labelled)
            cost = cost + language_cost(self.model, batch, tokens, labelled, inputs_need_gradients=upstream)
        return cost * stage.accumulation

    def _tower_seconds(self, data: str, pictures: float, trained: dict[str, int]) -> float:
        """A frozen tower sees each picture once, whichever stage comes first; its features are kept."""
        assert self.rate is not None
        if trained.get("tower", 0) or data in self.seen:
            return 0.0
        self.seen.add(data)
        return pictures * self.tower_flops / (self.rate * EFFICIENCY)


def _on_cpu(model: Any) -> Any:
    from vitrail.models.vlm import build_connector

    hidden = model.config.get_text_config().hidden_size
    connector = build_connector(model.config.connector, model.tower.width, hidden)
    frozen = not any(parameter.requires_grad for parameter in model.connector.parameters())
    return connector.requires_grad_(not frozen)


def _steps(stage: Any, records: int) -> tuple[int | None, str]:
    """Optimiser steps as far as they are known beforehand, and the budget in words."""
    batch = stage.records_a_step
    limits, words = [], []
    if stage.max_steps is not None:
        limits.append(stage.max_steps)
        words.append(f"{stage.max_steps:,} steps")
    if stage.epochs is not None:
        limits.append(math.ceil(records / batch * stage.epochs))
        words.append(f"{stage.epochs:g} epochs")
    if stage.max_minutes is not None:
        words.append(f"{stage.max_minutes:g} min")
    return (min(limits) if limits else None), ", at most ".join(words)


def _name_of(component: Any) -> str:
    return (
        component
        if isinstance(component, str)
        else str(getattr(component, "name", None) or component["name"])
    )


def _needs_language(objective: Any) -> bool:
    from vitrail import registry

    return bool(getattr(registry.get("objective", _name_of(objective)), "needs_language_model", True))


def sample_lengths(source: Any, tokens_an_image: int) -> Lengths:
    """Estimated lengths, from up to ``SAMPLE`` records spread over the source; no tokenizer is loaded."""
    from vitrail.data.media import media_of
    from vitrail.data.records import Image

    count = min(len(source), SAMPLE)
    tokens = labelled = pictures = 0.0
    for position in range(count):
        record = source[position * len(source) // count]
        images = sum(isinstance(medium, Image) for _, medium in media_of(record.messages))
        pictures += images
        tokens += images * tokens_an_image
        for message in record.messages:
            text = len(message.text) / CHARACTERS_A_TOKEN
            tokens += text + TEMPLATE_TOKENS
            labelled += text + 1 if message.role == "assistant" else 0
    return Lengths(tokens / count, labelled / count, pictures / count, count)

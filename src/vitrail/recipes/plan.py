"""What a recipe will take, before anything is loaded or run: parameters, tokens, operations, memory, time.

Shapes come from the meta device, lengths and picture sizes from a sample of the data, and the machine's speed from a
matrix product timed for half a second. Times are estimates (a training step reaches about ``EFFICIENCY`` of that
product's speed on a CPU). Memory is that of the longest record there can be (``benchmarks/memory.py`` compares it with
what is measured); everything else is exact or says what it was measured on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from vitrail.recipes.lengths import Lengths, Sampled, sample
from vitrail.recipes.mixing import is_mixture, tree
from vitrail.recipes.schema import File, Recipe
from vitrail.recipes.shapes import Shapes, shapes
from vitrail.recipes.sources import open_data
from vitrail.recipes.subsets import origin
from vitrail.recipes.teacher_costs import with_teachers

EFFICIENCY = 0.5


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

    @classmethod
    def of(cls, stage: Any, **found: Any) -> StagePlan:
        """What the stage says itself, with what was found."""
        objective = " + ".join(one.name for one in stage.objectives)
        told: dict[str, Any] = {"name": stage.name, "objective": objective, "data": stage.data}
        return cls(**told, batch_size=stage.records_a_step, **found)


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
    mixtures: list[str] = field(default_factory=list)
    """The tree of each mixture that a stage trains on, in text; tokens are estimated from a sample."""

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


def plan(recipe: Recipe, measure_speed: bool = True, measure_memory: bool = True) -> Plan:
    """Plan ``recipe``. ``measure_speed=False`` leaves times out (and makes the plan the same everywhere);
    ``measure_memory=False`` leaves memory out, which is half of the work.

    ValueError where data or a model's configuration is not there.
    """
    from vitrail.models import anatomy
    from vitrail.recipes.anatomy_text import picture_tokens
    from vitrail.recipes.dual_plan import dual_encoder_of, dual_plan
    from vitrail.recipes.encoder_plan import encoder_plan, text_encoder_of
    from vitrail.recipes.trained import outlined

    recipe = recipe.model_copy(update={"model": outlined(recipe.model)})
    if (dual := dual_encoder_of(recipe.model)) is not None:
        return dual_plan(recipe, dual, _rate_of(dual.config.text_config) if measure_speed else None)
    if (encoder := text_encoder_of(recipe.model)) is not None:
        return encoder_plan(recipe, encoder, _rate_of(encoder.config) if measure_speed else None)
    seen = shapes(recipe.model)
    rate = _rate(seen.model) if measure_speed else None
    planner = _Planner(recipe, seen, rate, measure_memory)
    return Plan(
        recipe=recipe.name,
        parts=[
            {"part": row.name, "kind": row.kind, "parameters": row.parameters}
            for row in anatomy.counts(seen.model)
        ],
        anatomy=picture_tokens(seen),
        flops_a_second=rate,
        tower_flops_an_image=planner.tower_flops,
        stages=[planner.stage(stage) for stage in recipe.stages],
        evaluation=[planner.evaluation(one) for one in recipe.evaluation],
        mixtures=planner.mixtures(),
    )


def _rate(model: Any) -> float:
    return _rate_of(model.config.get_text_config())


def _rate_of(text: Any) -> float:
    from vitrail.recipes.costs import matmul_rate

    return matmul_rate(text.hidden_size, getattr(text, "intermediate_size", 4 * text.hidden_size))


class _Planner:
    """What the stages of one recipe share: shapes, speed, and lengths already looked at."""

    def __init__(self, recipe: Recipe, seen: Shapes, rate: float | None, memory: bool = True) -> None:
        from vitrail.recipes.pictures_cost import picture_coster

        self.recipe, self.shapes, self.model, self.rate = recipe, seen, seen.model, rate
        self.memory = memory
        self.vision = picture_coster(seen)
        self.tower_flops = self.vision.once_flops
        self.sources: dict[tuple[str, str], tuple[int, Sampled]] = {}
        self.seen: set[str] = set()

    def sampled(self, name: str, use: Any) -> tuple[int, Sampled]:
        """Number of records of a source, and a sample of them."""
        if (name, use) not in self.sources:
            source = open_data(self.recipe, name, use)
            encoder, data = self.shapes.encoder, origin(self.recipe, name)
            limit = data.max_length if isinstance(data, File) else None
            try:
                found = sample(
                    source, self.shapes.planner, None if encoder is None else encoder.encode, limit
                )
            except ValueError as error:
                why = f"; {self.shapes.why}" if self.shapes.why else ""
                raise ValueError(f"data.{name}: {error}{why}") from None
            self.sources[name, use] = len(source), found
        return self.sources[name, use]

    def stage(self, stage: Any) -> StagePlan:
        """The plan of one stage."""
        records, found = self.sampled(stage.data, "conversations")
        stage = stage.fitted(records)
        trained = self._freeze(stage.trains)
        steps, budget = steps_of(stage, records)
        flops, memory = self._step(stage, found, trained)
        flops, memory = with_teachers(self.recipe, stage, steps, found, flops, memory)
        seconds = None
        if self.rate is not None:
            a_step = flops / (self.rate * EFFICIENCY)
            seconds = a_step * steps if steps is not None else math.inf
            if stage.max_minutes is not None:
                seconds = min(seconds, 60 * stage.max_minutes)
            seconds += self._tower_seconds(stage.data, records * found.lengths.pictures, trained)
        return StagePlan.of(
            stage,
            records=records,
            trained=trained,
            lengths=found.lengths,
            steps=steps,
            budget=budget,
            flops_a_step=flops,
            memory=memory,
            seconds=seconds,
        )

    def mixtures(self) -> list[str]:
        """The trees of the mixtures that stages train on, with the sizes of their leaves."""
        found = []
        for name in dict.fromkeys(stage.data for stage in self.recipe.stages):
            data: Any = self.recipe.data[name]
            if not is_mixture(data):
                continue
            sizes, said = {}, {}
            for leaf in tree(self.recipe, name).leaves():
                records, looked = self.sampled(leaf, "conversations")
                tokens = records * looked.lengths.tokens
                sizes[leaf] = float(records) if data.unit == "records" else tokens
                said[leaf] = f"{records:,} records, about {tokens:,.0f} tokens"
            found.append(tree(self.recipe, name, sizes).text(said))
        return found

    def evaluation(self, evaluation: Any) -> EvaluationPlan:
        """The plan of one evaluation: a forward of every question with its options, once a condition."""
        from vitrail.recipes.costs import Batch, language_flops

        records, found = self.sampled(evaluation.data, "questions")
        self.model.requires_grad_(False)
        one = language_flops(self.model, Batch(1, max(round(found.lengths.tokens), 1), 4))
        conditions = self.recipe.conditions_of(evaluation)
        a_record = one + self.vision.asked_flops(found)
        flops = a_record * records * len(conditions)
        seconds = None if self.rate is None else flops / (self.rate * EFFICIENCY)
        return EvaluationPlan(evaluation.name, evaluation.data, records, conditions, flops, seconds)

    def _freeze(self, trains: Any) -> dict[str, int]:
        """Set ``requires_grad`` as in the stage; returns the trained parameters of each part."""
        from vitrail.models import anatomy
        from vitrail.training.selection import select_parameters

        select_parameters(self.model, trains)
        return {row.name: row.trained for row in anatomy.counts(self.model)}

    def _step(self, stage: Any, found: Sampled, trained: dict[str, int]) -> tuple[float, dict[str, float]]:
        """Operations of one optimiser step, and bytes at its peak."""
        from vitrail.recipes.costs import Batch, language_bytes, language_flops

        lengths, bfloat16 = found.lengths, self._bfloat16(stage)
        rows, again = stage.batch_size, stage.gradient_checkpointing
        vision, passing = self.vision.step(found, rows, trained, 2 if bfloat16 else 4)
        flops, peak = vision.flops, passing
        if any(_needs_language(one.name) for one in stage.objectives):
            upstream = bool(trained.get("connector", 0) or trained.get("tower", 0))
            mean = Batch(rows, max(round(lengths.tokens), 1), round(rows * lengths.labelled), upstream)
            most = Batch(rows, max(round(lengths.longest), 1), round(rows * lengths.most_labelled), upstream)
            flops += language_flops(self.model, mean, checkpointing=again)
            if self.memory:
                peak = max(peak, language_bytes(self.model, most, bfloat16=bfloat16, checkpointing=again))
        if not self.memory:
            return flops * stage.accumulation, {}
        return flops * stage.accumulation, self._memory(stage, vision.activation_bytes + peak)

    def _bfloat16(self, stage: Any) -> bool:
        import torch

        loaded = any(parameter.dtype == torch.bfloat16 for parameter in self.model.parameters())
        return loaded or stage.precision == "bfloat16"

    def _memory(self, stage: Any, alive: float) -> dict[str, float]:
        """Bytes by what they hold. Without accumulation gradients appear while activations go."""
        weights = gradients = 0.0
        few = self._in_few_bits()
        for name, parameter in self.model.named_parameters():
            each = 4 if parameter.requires_grad else few.get(name, parameter.element_size())
            weights += parameter.numel() * each
            gradients += 4.0 * parameter.numel() * parameter.requires_grad
        return {
            "weights": weights,
            "gradients": gradients,
            "optimiser": 2 * gradients / (4 if stage.optimizer.endswith("_8bit") else 1),
            "activations": alive if stage.accumulation > 1 else max(alive - gradients, 0.0),
        }

    def _in_few_bits(self) -> dict[str, float]:
        """Bytes of each weight of the parameters that are quantised, by name."""
        settings = self.recipe.model.quantization
        if settings is None:
            return {}
        from vitrail.models.quantising import bytes_a_weight
        from vitrail.recipes.adapters import linear_layers

        layers = linear_layers(self.model, settings.where, "model.quantization.where")
        each = bytes_a_weight(settings.bits, settings.double)
        return {f"{layer}.weight": each for layer in layers if "lora_" not in layer}

    def _tower_seconds(self, data: str, pictures: float, trained: dict[str, int]) -> float:
        """Where a frozen tower's features are kept it sees each picture once, whichever stage comes first."""
        assert self.rate is not None
        if trained.get("tower", 0) or data in self.seen:
            return 0.0
        self.seen.add(data)
        return pictures * self.tower_flops / (self.rate * EFFICIENCY)


def steps_of(stage: Any, records: int) -> tuple[int | None, str]:
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


def _needs_language(name: str) -> bool:
    from vitrail import registry

    return bool(getattr(registry.get("objective", name), "needs_language_model", True))

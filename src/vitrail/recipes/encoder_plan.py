"""What a masked encoder's recipe will take: parameters, texts, operations, memory.

Operations of a step are six a weight and token where everything trains (two forward, four backward; what does not
train saves its own two), the head's at the predicted tokens alone. Activations are estimated as 34 values of the
hidden width a token and layer, plus 5 of each head's square (Korthikanti et al., arXiv 2205.05198, table 2).
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.dual_plan import SAMPLE, lengths_of, size_of, trained_parts
from vitrail.recipes.plan import EFFICIENCY, EvaluationPlan, Plan, StagePlan, steps_of
from vitrail.recipes.schema import Model, Recipe
from vitrail.recipes.sources import open_data

PREDICTED = 0.15
"""Share of tokens that are predicted, where an objective does not say."""


def text_encoder_of(model: Model) -> Any:
    """The shapes of a recipe's masked encoder on the meta device; None for a model that is none."""
    from vitrail.models.families.table import family_of
    from vitrail.models.loading import load_config
    from vitrail.recipes import languages, shapes

    if shapes.is_text_alone(model):
        assert model.language is not None
        if not languages.is_masked(model.language):
            return None
        config = languages.config_of(model.language, languages.tokenizer_of(model.language))
    elif model.path is not None:
        config = load_config(shapes.source_of(model.path))
        if family_of(config).kind != "encoder":
            return None
    else:
        return None
    import torch
    from transformers import AutoModelForMaskedLM

    with torch.device("meta"):
        return AutoModelForMaskedLM.from_config(config)


def encoder_plan(recipe: Recipe, model: Any, rate: float | None) -> Plan:
    """Plan ``recipe``; ``model`` is on the meta device. ``rate``: operations a second, None for no times."""
    from vitrail.models import anatomy

    parts = [
        {"part": row.name, "kind": row.kind, "parameters": row.parameters} for row in anatomy.counts(model)
    ]
    plan = Plan(recipe.name, parts, {}, rate, 0.0)
    for asked in recipe.stages:
        source = open_data(recipe, asked.data, "conversations")
        stage = asked.fitted(len(source))
        lengths = _sampled(source)
        steps, budget = steps_of(stage, len(source))
        trained = trained_parts(model, stage.trains)
        flops, memory = _step(model, stage, lengths)
        seconds = None if rate is None else flops * (steps or 0) / (rate * EFFICIENCY)
        if seconds is not None and stage.max_minutes is not None:
            seconds = min(seconds or 60 * stage.max_minutes, 60 * stage.max_minutes)
        plan.stages.append(
            StagePlan.of(
                stage,
                records=len(source),
                trained=trained,
                lengths=lengths,
                steps=steps,
                budget=budget,
                flops_a_step=flops,
                memory=memory,
                seconds=seconds,
            )
        )
    for one in recipe.evaluation:
        source = open_data(recipe, one.data, "questions")
        conditions = recipe.conditions_of(one)
        flops = 4.0 * len(source) * len(conditions) * _sampled(source).tokens * _body(model)
        seconds = None if rate is None else flops / (rate * EFFICIENCY)
        plan.evaluation.append(
            EvaluationPlan(one.name, one.data, 2 * len(source), conditions, flops, seconds)
        )
    return plan


def _sampled(source: Any) -> Any:
    from vitrail.models.sentences import texts_of

    found = []
    for index in range(min(SAMPLE, len(source))):
        texts = texts_of(source[index * len(source) // min(SAMPLE, len(source))])
        found.append(max(3.0, sum(map(len, texts)) / 4 + len(texts) + 1))  # a token is about four letters
    return lengths_of(found)


def _body(model: Any) -> int:
    """Weights that every token goes through."""
    words = model.get_input_embeddings().weight.numel()
    return max(size_of(model) - words, 1)


def _step(model: Any, stage: Any, lengths: Any) -> tuple[float, dict[str, float]]:
    config, rows = model.config, stage.batch_size
    learning = min(size_of(model, trained=True), _body(model))
    head = 6.0 * config.vocab_size * config.hidden_size * PREDICTED
    flops = rows * lengths.tokens * (2.0 * _body(model) + 4.0 * learning + head)
    a_layer = 34 * config.hidden_size + 5 * config.num_attention_heads * lengths.longest
    gradients = 4.0 * size_of(model, trained=True)
    logits = 8.0 * rows * lengths.longest * PREDICTED * config.vocab_size
    memory = {
        "weights": 4.0 * size_of(model),
        "gradients": gradients,
        "optimiser": 2 * gradients,
        "activations": 2.0 * rows * lengths.longest * a_layer * config.num_hidden_layers + logits,
    }
    return flops * stage.accumulation, memory

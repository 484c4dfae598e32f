"""What a dual encoder's recipe will take: parameters, pairs, operations, memory.

Shapes come from the meta device. Operations of a step are those of the text encoder (twice its weights a token, three
times that where its layers train) and of the projection over the tower's tokens; a frozen tower sees each picture once.
Activations are estimated as 34 values of the hidden width a token and layer that trains, plus 5 of each head's square
(Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", arXiv 2205.05198, table 2).
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.dual_encoders import DualEncoder
from vitrail.recipes.lengths import Lengths
from vitrail.recipes.plan import EFFICIENCY, EvaluationPlan, Plan, StagePlan, steps_of
from vitrail.recipes.schema import Model, Recipe
from vitrail.recipes.sources import open_data

# What the house's text side is made of, so that a plan needs neither weights nor network.
MINILM: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
}
SAMPLE = 32


def dual_encoder_of(model: Model) -> Any:
    """The shapes of a recipe's dual encoder on the meta device; None for a model that is none.

    ValueError where a configuration cannot be read.
    """
    config = getattr(model, "dual_encoder", None)
    if config is not None:
        return on_meta(config)
    if model.path is None:
        return None
    from vitrail.models.families.table import family_of
    from vitrail.models.loading import load_config, model_source
    from vitrail.recipes import shapes

    if family_of(load_config(model_source(model.path))).kind != "dual encoder":
        return None
    return shapes.on_meta(model)


def on_meta(config: DualEncoder) -> Any:
    """The model's shapes on the meta device. ValueError where a configuration cannot be read."""
    import torch
    from transformers import AutoConfig

    from vitrail.models import VitrailDualEncoder, VitrailDualEncoderConfig

    if config.parts != "house":
        from vitrail.models.testbeds import dual

        return getattr(dual, config.parts)(**config.settings()).model.to("meta")
    tower: dict[str, Any] = {"name": "efficientnet_lite"}
    if config.tower is not None:
        tower = {"name": config.tower.name, **config.tower.settings}
        if (weights := tower.pop("weights", None)) is not None:
            vision = AutoConfig.from_pretrained(weights)
            tower["vision_config"] = getattr(vision, "vision_config", vision).to_dict()
    text: Any = MINILM
    if config.text is not None:
        text = AutoConfig.from_pretrained(config.text)
        text = getattr(text, "text_config", text)
    settings = {"tower": tower, "text_config": text, **config.settings()}
    with torch.device("meta"):
        return VitrailDualEncoder(VitrailDualEncoderConfig(**settings))


def dual_plan(recipe: Recipe, model: Any, rate: float | None) -> Plan:
    """Plan ``recipe``; its ``model`` is on the meta device. ``rate``: operations a second, None for no times."""
    from vitrail.models import anatomy
    from vitrail.models.pairs import pair_of

    count = _tower_tokens(model)
    tower_flops = 2.0 * size_of(model.vision_model) * count
    parts = [
        {"part": row.name, "kind": row.kind, "parameters": row.parameters} for row in anatomy.counts(model)
    ]
    plan = Plan(
        recipe=recipe.name,
        parts=parts,
        anatomy={},
        flops_a_second=rate,
        tower_flops_an_image=tower_flops,
    )
    seen: set[str] = set()
    for asked in recipe.stages:
        source = open_data(recipe, asked.data, "conversations")
        stage = asked.fitted(len(source))
        texts = [pair_of(source[index])[1] for index in range(min(SAMPLE, len(source)))]
        lengths = lengths_of([max(2.0, len(text) / 4 + 2) for text in texts])  # a token is about four letters
        trained = trained_parts(model, stage.trains)
        steps, budget = steps_of(stage, len(source))
        flops, memory = _step(model, stage, lengths, count)
        seconds = None
        if rate is not None:
            seconds = flops * (steps or 0) / (rate * EFFICIENCY)
            if stage.max_minutes is not None:
                seconds = min(seconds, 60 * stage.max_minutes) if steps else 60 * stage.max_minutes
            if stage.data not in seen:
                seconds += len(source) * tower_flops / (rate * EFFICIENCY)
        seen.add(stage.data)
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
        count = len(open_data(recipe, one.data, "conversations"))
        conditions = recipe.conditions_of(one)
        flops = count * len(conditions) * (tower_flops + 2.0 * _layers(model) * 16)
        plan.evaluation.append(
            EvaluationPlan(
                one.name,
                one.data,
                count,
                conditions,
                flops,
                None if rate is None else flops / (rate * EFFICIENCY),
            )
        )
    return plan


def lengths_of(tokens: list[float]) -> Lengths:
    """The lengths of rows without pictures, all of whose tokens are read."""
    return Lengths(
        tokens=sum(tokens) / len(tokens),
        labelled=sum(tokens) / len(tokens),
        pictures=1.0,
        sampled=len(tokens),
        longest=max(tokens),
        most_labelled=max(tokens),
    )


def trained_parts(model: Any, trains: Any) -> dict[str, int]:
    """How many parameters of each part a stage trains; they alone ask for gradients then."""
    from vitrail.models import anatomy
    from vitrail.training.selection import select_parameters

    select_parameters(model, trains)
    return {row.name: row.trained for row in anatomy.counts(model)}


def _tower_tokens(model: Any) -> int:
    """Tokens of a picture in the tower."""
    if hasattr(model, "tower"):
        rows, cols = model.tower.grid(0, 0)
        return int(rows * cols)
    vision = model.config.vision_config
    return int((vision.image_size // vision.patch_size) ** 2)


def size_of(module: Any, trained: bool = False) -> int:
    """Parameters of a module: all, or those that train."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def _layers(model: Any) -> int:
    """Parameters of the text encoder that every token goes through."""
    embeddings = getattr(model.text_model, "embeddings", None)
    words = size_of(embeddings) if embeddings is not None else model.get_input_embeddings().weight.numel()
    return max(size_of(model.text_model) - words, 1)


def _step(model: Any, stage: Any, lengths: Lengths, count: int) -> tuple[float, dict[str, float]]:
    text, rows = model.config.text_config, stage.batch_size
    learning, projecting = size_of(model.text_model, trained=True), size_of(model) - size_of(model.text_model)
    projecting -= size_of(model.vision_model)
    flops = rows * lengths.tokens * (2.0 * _layers(model) + 4.0 * min(learning, _layers(model)))
    flops += 6.0 * rows * count * projecting
    alive = 4.0 * rows * count * 6 * text.hidden_size
    looking = size_of(model.vision_model, trained=True)
    if looking:  # every picture in every step
        flops += rows * count * (2.0 * size_of(model.vision_model) + 4.0 * looking)
        alive += 4.0 * rows * count * 34 * (looking / 12) ** 0.5
    a_layer = 34 * text.hidden_size + 5 * text.num_attention_heads * lengths.longest
    share = min(1.0, learning / _layers(model))
    alive += 2.0 * rows * lengths.longest * a_layer * max(1.0, share * text.num_hidden_layers)
    gradients = 4.0 * size_of(model, trained=True)
    memory = {
        "weights": 4.0 * size_of(model),
        "gradients": gradients,
        "optimiser": 2 * gradients,
        "activations": alive,
    }
    return flops * stage.accumulation, memory

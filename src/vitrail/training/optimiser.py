"""Parameter groups and the learning-rate schedule of a stage."""

from __future__ import annotations

from typing import Any, cast

import transformers
from torch import nn
from torch.optim import Optimizer

from vitrail.training.selection import Selection
from vitrail.training.stages import StageConfig

_SCHEDULES = {"constant": "constant_with_warmup", "wsd": "warmup_stable_decay"}
WSD_DECAY = 0.2


def parameter_groups(
    model: nn.Module, selection: Selection, objective: nn.Module, config: StageConfig
) -> list[dict[str, Any]]:
    """Groups by part and by decay; each says its ``part``. No decay for norms, biases and single vectors.

    The objective's own parameters train at the rate of ``"objective"``, without decay.
    """
    found: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = selection.parameters.get(name)
        if part is not None:
            found.setdefault((part, parameter.ndim >= 2), []).append(parameter)
    own = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if own:
        found["objective", False] = own
    return [
        {
            "params": parameters,
            "part": part,
            "lr": config.rate_of(part),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (part, decays), parameters in found.items()
    ]


def make_optimizer(
    groups: list[dict[str, Any]], arguments: transformers.TrainingArguments, model: nn.Module
) -> Optimizer:
    """The optimizer that ``arguments.optim`` names, over ``groups``. ValueError for one that makes its own
    groups."""
    kind, options = transformers.Trainer.get_optimizer_cls_and_kwargs(arguments, cast(Any, model))
    if any(name in options for name in ("params", "model", "optimizer_dict")):
        raise ValueError(f"optimizer {arguments.optim!r} makes its own parameter groups; choose another")
    return kind([dict(group) for group in groups], **options)


def make_schedule(optimizer: Any, config: StageConfig, steps: int) -> Any:
    """The learning-rate schedule over ``steps``: one of ours, or as transformers has it."""
    warm = config.warmup_steps(steps)
    if (own := config.made_schedule) is not None:
        return own.scheduler(optimizer, steps, warm, config.continues is not None)
    name = str(config.schedule)
    options: dict[str, Any] = {}
    if config.schedule == "wsd":
        options["num_decay_steps"] = max(1, min(round((config.decay or WSD_DECAY) * steps), steps - warm))
        options["min_lr_ratio"] = config.min_learning_rate or 0.0
    elif config.schedule == "cosine_with_min_lr":
        options["min_lr_rate"] = 0.1 if config.min_learning_rate is None else config.min_learning_rate
    return transformers.get_scheduler(
        _SCHEDULES.get(name, name),
        optimizer,
        num_warmup_steps=warm,
        num_training_steps=steps,
        scheduler_specific_kwargs=options,
    )

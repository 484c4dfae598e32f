"""Parameter groups and the learning-rate schedule of a stage."""

from __future__ import annotations

import re
from typing import Any, cast

import transformers
from torch import nn
from torch.optim import Optimizer

from vitrail.models.quantising import bitsandbytes
from vitrail.training.selection import Selection
from vitrail.training.stages import StageConfig

_SCHEDULES = {"constant": "constant_with_warmup", "wsd": "warmup_stable_decay"}
WSD_DECAY = 0.2
_OF_BITSANDBYTES = re.compile(
    r"(paged_)?(adamw|lion|ademamix)(_bnb)?_(8|32)bit|ademamix|rmsprop_bnb(_8bit|_32bit)?"
)


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


def check_optimizer(config: StageConfig, device_type: str, processes: int) -> None:
    """Before anything is trained: ImportError for an optimizer whose library is missing, naming the extra.

    ValueError for one that cannot work on the device, or on sharded weights.
    """
    name = config.optimizer
    if not _OF_BITSANDBYTES.fullmatch(name):
        return
    bitsandbytes(f"optimizer {name!r}")
    if name.startswith("paged_") and device_type != "cuda":
        raise ValueError(
            f"optimizer {name!r} moves its state between a CUDA device and memory, and this stage runs on "
            f"{device_type}; use {name.removeprefix('paged_')!r}"
        )
    if config.sharding == "full" and processes > 1:
        raise ValueError(
            f"optimizer {name!r} does not know sharded weights; use 'adamw_torch_fused', or sharding: none"
        )


def _embeddings_in_full(model: nn.Module) -> None:
    """8-bit optimizers keep the state of embeddings in 32 bits, as their authors advise (arXiv 2110.02861)."""
    manager = bitsandbytes("an 8-bit optimizer").optim.GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})


def make_optimizer(
    groups: list[dict[str, Any]], arguments: transformers.TrainingArguments, model: nn.Module
) -> Optimizer:
    """The optimizer that ``arguments.optim`` names, over ``groups``. ValueError for one that makes its own
    groups."""
    kind, options = transformers.Trainer.get_optimizer_cls_and_kwargs(arguments, cast(Any, model))
    if any(name in options for name in ("params", "model", "optimizer_dict")):
        raise ValueError(f"optimizer {arguments.optim!r} makes its own parameter groups; choose another")
    if options.get("optim_bits") == 8:
        _embeddings_in_full(model)
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

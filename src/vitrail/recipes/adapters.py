"""Low-rank adapters: where they go, how they are folded in, and how they are kept for PEFT.

Adapters sit on linear layers of named parts of the anatomy, found by what they are and not by their names alone: a
``q_proj`` of the decoder is one, that of the vision tower is another. Folding in is checked bit by bit: the tensors
that changed are those that were targeted, or nothing is saved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitrail.recipes.schema import Lora
from vitrail.registry import nearest

ADAPTER = "default"
_BLOCKS = {"language": "language.layers", "tower": "tower.blocks"}
"""Inside these parts adapters go into the blocks only: no embedding, head or pooler."""


def add_lora(model: nn.Module, lora: Lora) -> list[str]:
    """Put adapters on the linear layers that ``lora`` names, in place; returns the layers' paths.

    ValueError if a part is not there or has no linear layer, or if no layer has a target's name. Adapters are float32,
    whatever the base weights are.
    """
    from peft import LoraConfig, inject_adapter_in_model

    layers = target_layers(model, lora)
    inject_adapter_in_model(LoraConfig(**_settings(lora), target_modules=layers), model, ADAPTER)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return layers


def _settings(lora: Lora) -> dict[str, Any]:
    return {
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "use_dora": lora.dora,
        "bias": "none",
    }


def target_layers(model: nn.Module, lora: Lora) -> list[str]:
    """Paths of the linear layers that get adapters, in the model's order. ValueError as :func:`add_lora`."""
    chosen: set[int] = set()
    names: set[str] = set()
    wanted = None if lora.targets == "all" else set(lora.targets)
    for part in lora.where:
        linear = _linear(model, part)
        names |= {name.rpartition(".")[2] for name, _ in linear}
        chosen |= {id(module) for name, module in linear if not wanted or name.rpartition(".")[2] in wanted}
    wrong = sorted((wanted or set()) - names)
    if wrong:
        where = " or ".join(lora.where)
        raise ValueError(
            f"model.lora.targets: the {where} has no linear layer {wrong[0]!r}; {nearest(wrong[0], sorted(names))}"
        )
    return [name for name, module in model.named_modules() if id(module) in chosen]


def linear_layers(model: nn.Module, where: Sequence[str], field: str) -> list[str]:
    """Paths of the plain linear layers of the parts ``where``, in the model's order.

    ValueError, naming the recipe's ``field``, if a part is not there or has none.
    """
    chosen = {
        id(module) for part in where for _, module in _linear(model, part, field) if type(module) is nn.Linear
    }
    return [name for name, module in model.named_modules() if id(module) in chosen]


def _linear(model: nn.Module, part: str, field: str = "model.lora.where") -> list[tuple[str, nn.Linear]]:
    from vitrail.models import anatomy

    parts = anatomy.parts(model)
    blocks = parts.get(_BLOCKS.get(part, part))
    found = blocks if blocks is not None else anatomy.find(parts, part)
    if found is None:
        raise ValueError(f"{field}: this model has no part {part!r}; {nearest(part, sorted(parts))}")
    linear = [(name, module) for name, module in found.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(
            f"{field}: the {part} has no linear layer that an adapter could sit on; train it as a whole "
            f"(trains: [{part}])"
        )
    return linear


@dataclass(frozen=True)
class Merged:
    """What folding in did. ``targeted``: the weights that have an adapter; ``changed``: those whose bits changed;
    ``idle``: those whose adapter adds nothing (it was never given a gradient).
    """

    targeted: tuple[str, ...]
    changed: tuple[str, ...]
    idle: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The counts in words."""
        idle = f"; {len(self.idle)} adapters had learnt nothing" if self.idle else ""
        return (
            f"folded in adapters: {len(self.changed)} tensors changed of {len(self.targeted)} targeted{idle}"
        )


def merge_lora(model: nn.Module) -> Merged:
    """Fold the adapters into the base weights, in place; afterwards the model has no trace of them.

    Every tensor is compared with what it was. ValueError if there is no adapter or none that learnt anything, if a
    tensor changed that was not targeted, or if one that was did not change.
    """
    found = _adapters(model)
    if not found:
        raise ValueError("there are no adapters to fold in: no layer of the model has one")
    adds = {f"{name}.weight": _adds(module) for name, module in found}
    before = fingerprints(model)
    for name, module in found:
        parent, _, own = name.rpartition(".")
        module.merge(safe_merge=True, adapter_names=[ADAPTER])
        setattr(model.get_submodule(parent), own, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    after = fingerprints(model)
    _check_names(before, after)
    changed = tuple(name for name, value in after.items() if value != before[name])
    return _checked(adds, changed)


def _adapters(model: nn.Module) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def _adds(layer: Any) -> bool:
    """Whether the adapter adds anything but zero."""
    if layer.use_dora.get(ADAPTER, False):
        return True  # a norm taken apart and put together again moves last bits
    return bool(layer.lora_A[ADAPTER].weight.any()) and bool(layer.lora_B[ADAPTER].weight.any())


def _check_names(before: dict[str, str], after: dict[str, str]) -> None:
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ValueError(f"folding in adapters changed the model's tensors by name: {odd[:3]}")


def _checked(adds: dict[str, bool], changed: tuple[str, ...]) -> Merged:
    idle = tuple(name for name, something in adds.items() if not something)
    if len(idle) == len(adds):
        raise ValueError(
            f"there is nothing to fold in: all {len(adds)} adapters are zero, so no stage trained them; let one train "
            "language.lora, or remove model.lora"
        )
    stray = sorted(set(changed) - set(adds))
    if stray:
        raise ValueError(
            f"folding in adapters changed {len(stray)} tensors that were not targeted ({stray[0]} first); they share "
            "storage with a target, so the merged model would be another one. Leave that layer out of "
            "model.lora.targets"
        )
    kept = [name for name, something in adds.items() if something and name not in changed]
    if kept:
        raise ValueError(
            f"{len(kept)} of {len(adds)} targeted tensors did not change ({kept[0]} first): what their adapters learnt "
            "is below the precision of the base weights. Load them with model.dtype: float32"
        )
    return Merged(tuple(adds), changed, idle)


def fingerprints(model: nn.Module) -> dict[str, str]:
    """A hash of every parameter and buffer by its name in the model without adapters, tied ones under each name."""
    known: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, value in _tensors(model):
        if id(value) not in known:
            known[id(value)] = f"{value.dtype} {tuple(value.shape)} {_digest(value)}"
        found[name] = known[id(value)]
    return found


def _tensors(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    for kind in (model.named_parameters, model.named_buffers):
        for name, value in kind(remove_duplicate=False):
            if "lora_" not in name:
                yield name.replace(".base_layer.", "."), value


def _digest(value: Tensor) -> str:
    import torch

    flat = value.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()


def save_adapter(model: Any, lora: Lora, base: str, folder: Path) -> None:
    """Write the adapters as PEFT keeps them, atomically: ``PeftModel.from_pretrained(base_model, folder)`` reads them.

    ``base`` is the model that they belong to, by folder or hub name. Nothing but adapters is kept.
    """
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    from vitrail.storage.atomic import new_folder

    layers = [name for name, _ in _adapters(model)]
    config = LoraConfig(
        **_settings(lora),
        target_modules=pattern_of(layers, [name for name, _ in model.named_modules()]),
        base_model_name_or_path=base,
        inference_mode=True,
    )
    state = get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    tensors = {f"base_model.model.{name}": value.detach().cpu().contiguous() for name, value in state.items()}
    with new_folder(folder) as place:
        config.save_pretrained(str(place))
        save_file(tensors, str(place / "adapter_model.safetensors"), metadata={"format": "pt"})


def pattern_of(layers: Sequence[str], modules: Sequence[str]) -> str | list[str]:
    r"""A regular expression that means exactly ``layers`` among a model's ``modules``, or the list where none is found.

    Numbers of blocks become ``\d+``, so that the text stays short enough to read.
    """
    shapes = dict.fromkeys(
        r"\.".join(r"\d+" if step.isdigit() else re.escape(step) for step in name.split("."))
        for name in layers
    )
    pattern = "|".join(shapes)
    matched = {name for name in modules if re.fullmatch(pattern, name)}
    return pattern if matched == set(layers) else list(layers)

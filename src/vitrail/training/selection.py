"""What trains, named by anatomy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitrail.registry import nearest

if TYPE_CHECKING:
    from torch import nn

ADAPTERS = "lora"
"""``<part>.lora``: the low-rank adapters that PEFT put inside a part."""


@dataclass(frozen=True)
class PartRow:
    """A part's parameters: all, and those that train. Parts may lie inside others."""

    part: str
    total: int
    trained: int


@dataclass(frozen=True)
class Selection:
    """What trains in a model.

    ``parameters``: each trained parameter's name (as in ``named_parameters``) → the name in ``trains`` that
    chose it. ``modules``: those names → their modules. ``table``: a row for each part of the model.
    """

    parameters: dict[str, str]
    modules: dict[str, Any]
    table: tuple[PartRow, ...]

    @property
    def trained(self) -> int:
        """Number of trained parameters, shared ones once."""
        return self.table[-1].trained

    @property
    def total(self) -> int:
        """Number of parameters of the model."""
        return self.table[-1].total


def select_parameters(
    model: nn.Module, names: Sequence[str], parts: Mapping[str, nn.Module] | None = None
) -> Selection:
    """Let exactly the named parts require gradients, and say which parameters these are.

    ``parts`` is the anatomy (default: :func:`vitrail.models.anatomy.parts`); ``"all"`` is the whole model,
    ``"tower.blocks[-2:]"`` some blocks of a part, and ``"<part>.lora"`` the adapters inside a part. A parameter
    in several named parts goes to the longest name. ValueError for a name that matches nothing, with the
    nearest right one.
    """
    if parts is None:
        from vitrail.models import anatomy

        parts = anatomy.parts(model)
    parts = {**parts, "all": model}
    modules: dict[str, nn.Module] = {}
    owner: dict[int, str] = {}
    for name in sorted(names, key=len):
        chosen, modules[name] = _parameters(name, parts)
        owner.update({id(parameter): name for parameter in chosen})
    selected = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in owner and not parameter.is_floating_point():
            part = owner[id(parameter)]
            raise ValueError(
                f"trains names {part!r}, but its {name} is quantised and does not train; train {part}.{ADAPTERS}"
            )
        parameter.requires_grad_(id(parameter) in owner)
        if id(parameter) in owner:
            selected[name] = owner[id(parameter)]
    return Selection(selected, modules, _table(parts))


def _parameters(name: str, parts: Mapping[str, nn.Module]) -> tuple[list[Any], nn.Module]:
    from vitrail.models.anatomy import find

    inside, _, last = name.rpartition(".")
    within = find(parts, inside) if last == ADAPTERS else None
    if name not in parts and within is not None:
        chosen = [parameter for own, parameter in within.named_parameters() if "lora_" in own]
        if not chosen:
            raise ValueError(
                f"trains names {name!r}, but {inside!r} has no adapters; "
                f"add lora to the model, or train {inside!r}"
            )
        return chosen, within
    module = find(parts, name)
    if module is None:
        known = [*parts, *(f"{part}.{ADAPTERS}" for part in parts if part != "all")]
        raise ValueError(f"trains names {name!r}, which this model has not; {nearest(name, known)}")
    chosen = list(module.parameters())
    if not chosen:
        raise ValueError(f"trains names {name!r}, but that part has no parameters; remove it")
    return chosen, module


def _table(parts: Mapping[str, nn.Module]) -> tuple[PartRow, ...]:
    rows = []
    for name, module in parts.items():
        own = list(module.parameters())
        rows.append(
            PartRow(name, sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad))
        )
    return tuple(rows)


def describe(table: Sequence[PartRow]) -> str:
    """The table as text: part, parameters, trained."""
    width = max(len(row.part) for row in table)
    lines = [f"{'part':<{width}}  {'parameters':>13}  {'trained':>13}"]
    return "\n".join(
        [*lines, *(f"{row.part:<{width}}  {row.total:>13,}  {row.trained:>13,}" for row in table)]
    )

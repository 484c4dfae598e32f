"""Anatomy: where the seams are in a model.

Stages name what trains by it, `vitrail show` prints it, and surgery finds its place by it. What transformers offers
as accessors is asked for there; what has no accessor is told by the model's family (:mod:`vitrail.models.families`).

=================  ==========================================================================================
multimodal         ``tower``, ``tower.blocks``, ``connector``, ``language``, ``language.embeddings``,
                   ``language.layers``, ``language.head``
language           the same without tower and connector
encoder            ``language`` and what lies in it
dual encoder       ``vision``, ``vision.embeddings``, ``vision.blocks``, ``vision.projection``, the same of
                   ``text`` (its blocks are ``text.layers``), ``temperature``
=================  ==========================================================================================

What a surgery added has the surgery's name: ``gamma_mod``, ``gamma_mod.router``.

A list of blocks takes an index or a slice: ``tower.blocks[-2:]``, ``language.layers[0]``. ``vision`` is another name of
a multimodal model's ``tower``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from vitrail import registry
from vitrail.models.families.family import Family
from vitrail.models.families.table import family_of
from vitrail.models.logits import unwrapped
from vitrail.models.surgery import operating


@dataclass(frozen=True)
class PartCount:
    """Parameters of a part: all of them, and those that train."""

    name: str
    kind: str
    parameters: int
    trained: int


_SLICE = re.compile(r"(?P<part>[\w.]+)\[(?P<start>-?\d*)(?P<colon>:?)(?P<stop>-?\d*)\](?P<rest>(\.\w+)*)")


class Joined(nn.Module):
    """A part that is more than one place in a model: its modules and parameters, by path. It has no forward."""

    def __init__(self, places: Mapping[str, nn.Module | nn.Parameter], kind: str = "") -> None:
        super().__init__()
        for path, place in places.items():
            setattr(self, path.replace(".", "_"), place)
        self.kind = kind or " + ".join(
            path.rpartition(".")[2] if isinstance(place, nn.Parameter) else type(place).__name__
            for path, place in places.items()
        )


def parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model by name, as the module's table has them; wrappers (PEFT, DDP) are looked through.

    ValueError for a model of a family that is not known, or that lacks what its family tells.
    """
    inner: Any = unwrapped(model)
    family = family_of(inner.config)
    found = dict(_told(inner, family))
    if family.kind in ("multimodal", "language"):
        found |= _decoder(inner)
    return found | operating.added_parts(inner)


def _told(inner: nn.Module, family: Family) -> Iterator[tuple[str, nn.Module]]:
    if family.tower is not None:
        connector = {path: _required(inner, path, family) for path in family.connector}
        tower = _module(inner, family.tower, family)
        inside = [path for path in connector if path.startswith(f"{family.tower}.")]
        yield "tower", _without(tower, family.tower, inside) if inside else tower
        if family.blocks is not None:
            yield "tower.blocks", _module(inner, family.blocks, family)
        yield "connector", _joined(connector)
    for name, paths in family.places.items():
        places = {path: place for path in paths if (place := _reach(inner, path)) is not None}
        if places:
            yield name, _joined(places)


def _decoder(inner: Any) -> dict[str, nn.Module]:
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else None
    if decoder is None:
        raise ValueError(f"{type(inner).__name__} has no get_decoder(): its anatomy is not known")
    head = inner.get_output_embeddings()
    language = getattr(inner, "language", None)
    if language is None:
        language = decoder if head is None else Joined({"decoder": decoder, "head": head})
    found = {"language": language, "language.embeddings": inner.get_input_embeddings()}
    if hasattr(decoder, "layers"):
        found["language.layers"] = decoder.layers
    if head is not None:
        found["language.head"] = head
    return found


def part(model: nn.Module, name: str) -> nn.Module:
    """One part by name, or some of its blocks (``tower.blocks[-2:]``). ValueError names the nearest right one."""
    found = parts(model)
    if (chosen := find(found, name)) is None:
        raise ValueError(f"this model has no part {name!r}; {registry.nearest(name, sorted(found))}")
    return chosen


def find(found: Mapping[str, nn.Module], name: str) -> nn.Module | None:
    """The part ``name`` among ``found``, an index or slice of a list of blocks included; None if it is not there.

    ValueError for an index beyond the blocks, or a slice that holds none.
    """
    if name not in found and name.partition(".")[0].partition("[")[0] == "vision" and "tower" in found:
        name = "tower" + name.removeprefix("vision")
    sliced = _SLICE.fullmatch(name)
    if sliced is None:
        return found.get(name)
    blocks = found.get(sliced["part"])
    if not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        return None
    start, stop = (int(edge) if edge else None for edge in (sliced["start"], sliced["stop"]))
    if not sliced["colon"]:
        if start is None or not -len(blocks) <= start < len(blocks):
            raise ValueError(f"{name!r}: {sliced['part']} has {len(blocks)} blocks, 0 to {len(blocks) - 1}")
        chosen: nn.Module | None = blocks[start]
        return _reach(blocks[start], sliced["rest"][1:]) if sliced["rest"] else chosen  # type: ignore[return-value]
    if sliced["rest"]:
        return None
    modules = list(blocks)[start:stop]
    if not modules:
        raise ValueError(f"{name!r} holds no block: {sliced['part']} has {len(blocks)}")
    return nn.ModuleList(modules)


def counts(model: nn.Module) -> list[PartCount]:
    """The top-level parts with their parameters; shared (tied) parameters are counted once."""
    found = parts(model)
    rows, seen = [], set()
    for name in [name for name in found if "." not in name]:
        own = [p for p in found[name].parameters() if id(p) not in seen]
        seen |= {id(p) for p in own}
        total, trained = sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)
        rows.append(PartCount(name, _kind(found[name]), total, trained))
    rest = [p for p in model.parameters() if id(p) not in seen]
    if rest:
        total, trained = sum(p.numel() for p in rest), sum(p.numel() for p in rest if p.requires_grad)
        rows.append(PartCount("rest", "", total, trained))
    return rows


def _kind(module: nn.Module) -> str:
    return str(module.kind) if isinstance(module, Joined) else type(module).__name__


def _joined(places: dict[str, nn.Module | nn.Parameter]) -> nn.Module:
    if len(places) == 1 and isinstance(module := next(iter(places.values())), nn.Module):
        return module
    return Joined(places)


def _without(tower: nn.Module, path: str, connector: list[str]) -> Joined:
    """A tower without the connector that lies in it."""
    out = {place.removeprefix(f"{path}.") for place in connector}
    children: dict[str, Any] = {**dict(tower.named_children()), **dict(tower.named_parameters(recurse=False))}
    return Joined({name: child for name, child in children.items() if name not in out}, type(tower).__name__)


def _module(model: nn.Module, path: str, family: Family) -> nn.Module:
    place = _required(model, path, family)
    if not isinstance(place, nn.Module):
        raise ValueError(f"the family {family.model_type!r} has {path!r} as a module, but it is a parameter")
    return place


def _required(model: nn.Module, path: str, family: Family) -> nn.Module | nn.Parameter:
    place = _reach(model, path)
    if place is None:
        raise ValueError(
            f"{type(model).__name__} has nothing at {path!r}, where the family {family.model_type!r} has it; "
            "if it is another family, give its configuration another model_type and register that"
        )
    return place


def _reach(model: nn.Module, path: str) -> nn.Module | nn.Parameter | None:
    place: Any = model
    for step in path.split("."):
        place = getattr(place, step, None)
        if place is None:
            return None
    return place if isinstance(place, (nn.Module, nn.Parameter)) else None

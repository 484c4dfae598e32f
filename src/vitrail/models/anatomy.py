"""Anatomy: where the seams are in a model.

Stages name what trains by it, `vitrail show` prints it, and surgery finds its place by it. What transformers offers
as accessors is asked for there; the connector alone has no accessor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from vitrail import registry
from vitrail.models.logits import unwrapped


@dataclass(frozen=True)
class PartCount:
    """Parameters of a part: all of them, and those that train."""

    name: str
    kind: str
    parameters: int
    trained: int


_CONNECTORS = ("connector", "model.multi_modal_projector", "model.connector", "model.visual.merger")
_TOWERS = ("tower", "model.vision_tower", "model.vision_model", "model.visual")


def parts(model: nn.Module) -> dict[str, nn.Module]:
    """``tower``, ``connector``, ``language`` and, inside it, ``language.embeddings``, ``language.layers``,
    ``language.head``.

    Works for our model and for families of transformers that keep these under their usual names. A plain language
    model has no tower and no connector. ValueError for a model with a tower that is not found.
    """
    inner: Any = unwrapped(model)
    found: dict[str, nn.Module] = {}
    for name, places in (("tower", _TOWERS), ("connector", _CONNECTORS)):
        for place in places:
            module = _reach(inner, place)
            if module is not None:
                found[name] = module
                break
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else None
    if decoder is None:
        raise ValueError(f"{type(inner).__name__} has no get_decoder(): its anatomy is not known")
    found["language"] = getattr(inner, "language", decoder)
    found["language.embeddings"] = inner.get_input_embeddings()
    if hasattr(decoder, "layers"):
        found["language.layers"] = decoder.layers
    head = inner.get_output_embeddings()
    if head is not None:
        found["language.head"] = head
    if "tower" in found and "connector" not in found:
        raise ValueError(f"{type(inner).__name__} has a tower but no connector under a name known here")
    return found


def part(model: nn.Module, name: str) -> nn.Module:
    """One part by name. ValueError names the nearest right one."""
    found = parts(model)
    if name not in found:
        raise ValueError(f"this model has no part {name!r}; {registry.nearest(name, sorted(found))}")
    return found[name]


def counts(model: nn.Module) -> list[PartCount]:
    """The top-level parts with their parameters; shared (tied) parameters are counted once."""
    found = parts(model)
    rows, seen = [], set()
    for name in ("tower", "connector", "language"):
        if name not in found:
            continue
        own = [p for p in found[name].parameters() if id(p) not in seen]
        seen |= {id(p) for p in own}
        total, trained = sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)
        rows.append(PartCount(name, type(found[name]).__name__, total, trained))
    rest = [p for p in model.parameters() if id(p) not in seen]
    if rest:
        total, trained = sum(p.numel() for p in rest), sum(p.numel() for p in rest if p.requires_grad)
        rows.append(PartCount("rest", "", total, trained))
    return rows


def _reach(model: nn.Module, path: str) -> nn.Module | None:
    for step in path.split("."):
        model = getattr(model, step, None)  # type: ignore[assignment]
        if model is None:
            return None
    return model if isinstance(model, nn.Module) else None

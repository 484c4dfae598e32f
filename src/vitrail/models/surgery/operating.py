"""Doing surgeries, recording them in a model's configuration, and doing them again when the model is loaded.

The configuration keeps them under ``vitrail``: ``{"surgeries": [{"name", "settings", "record"}, …]}`` in order.
transformers saves and restores that, but does not act on it: a changed model's folder is loaded with
:func:`vitrail.models.loading.load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from vitrail import registry
from vitrail.models.logits import unwrapped
from vitrail.models.surgery.surgery import Surgery

KEY = "vitrail"


def operate(model: Any, name: str, settings: dict[str, Any] | None = None, *, seed: int = 0) -> Any:
    """Do the surgery registered as ``name`` on a model that has its weights; the same model, changed in place.

    What it draws is drawn with ``seed``; the caller's random state stays. ValueError if the surgery does not fit the
    model, with the reason.
    """
    import torch

    surgery = build(name, settings or {})
    inner = unwrapped(model)
    surgery.check(inner)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        record = surgery.fresh(inner)
    _record(inner.config, name, settings or {}, record)
    return model


def outline(model: Any, name: str, settings: dict[str, Any] | None = None) -> Any:
    """The same on a model on the meta device, which has shapes alone; for plans."""
    surgery = build(name, settings or {})
    surgery.check(model)
    record = surgery.outline(model)
    _record(model.config, name, settings or {}, record)
    return model


def build(name: str, settings: dict[str, Any]) -> Surgery:
    """A surgery by its registered name. ValueError for a name or settings that do not exist."""
    kind = registry.get("surgery", name)
    return kind(kind.Config(**settings))


def done(config: Any) -> Iterator[tuple[str, Surgery, dict[str, Any]]]:
    """The surgeries that a configuration records, in the order in which they were done: name, surgery, record."""
    for entry in _entries(config):
        yield entry["name"], build(entry["name"], entry["settings"]), entry["record"]


def rebuild(model: Any, config: Any) -> None:
    """Do everything that ``config`` records on a model whose weights are still to come."""
    for _, surgery, record in done(config):
        surgery.rebuild(model, record)


def after_load(model: Any) -> None:
    """What is left to do when the weights are there."""
    for _, surgery, record in done(model.config):
        surgery.after_load(model, record)


def operated_class(base: type, config: Any) -> type:
    """``base``, whose instances undergo the recorded surgeries when they are built.

    It keeps name and module of ``base``: transformers looks up by them how the weights on disk are called.
    """

    class Operated(base):  # type: ignore[misc, valid-type]
        def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(config, *args, **kwargs)
            rebuild(self, config)

    Operated.__name__, Operated.__qualname__, Operated.__module__ = (
        base.__name__,
        base.__qualname__,
        base.__module__,
    )
    return Operated


def added_parts(model: nn.Module) -> dict[str, nn.Module]:
    """What surgeries added to ``model``, by ``<surgery>.<part>``; a surgery that was done twice is numbered."""
    inner: Any = unwrapped(model)
    found: dict[str, nn.Module] = {}
    seen: dict[str, int] = {}
    for name, surgery, record in done(inner.config):
        seen[name] = seen.get(name, 0) + 1
        prefix = name if seen[name] == 1 else f"{name}-{seen[name]}"
        parts = surgery.parts(inner, record)
        if parts:
            found[prefix] = nn.ModuleList(parts.values())
        found |= {f"{prefix}.{part}": module for part, module in parts.items()}
    return found


def refuse_broken(config: Any, wanted: str, what: str) -> None:
    """ValueError if a recorded surgery breaks ``wanted``; ``what`` says in words what was asked for."""
    for name, surgery, _ in done(config):
        if wanted in surgery.breaks:
            raise ValueError(
                f"{what} does not work with the surgery {name!r}, which this model has undergone"
            )


def _entries(config: Any) -> Sequence[dict[str, Any]]:
    kept = getattr(config, KEY, None) or {}
    return list(kept.get("surgeries", []))


def _record(config: Any, name: str, settings: dict[str, Any], record: dict[str, Any]) -> None:
    entries = [*_entries(config), {"name": name, "settings": settings, "record": record}]
    setattr(config, KEY, {**(getattr(config, KEY, None) or {}), "surgeries": entries})

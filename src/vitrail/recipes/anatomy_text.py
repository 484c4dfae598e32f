"""A model's anatomy as plain values and as text, for tables, plans and reports."""

from __future__ import annotations

from typing import Any

from vitrail.recipes.shapes import Shapes

TYPICAL_SIZES = ((224, 224), (336, 336), (640, 480), (1280, 720), (480, 1600))
"""Width and height of pictures whose tokens are shown: small squares, a photograph, a screen, a page."""


def describe(seen: Shapes, layers: bool = False) -> dict[str, Any]:
    """Family, parts with their kinds and parameters, sizes, how pictures become tokens, and what the model can do.

    ``layers`` adds every module that holds parameters.
    """
    from vitrail.models import anatomy

    model, family = seen.model, seen.family
    parts = [{**vars(row), "path": _path(model, family, row.name)} for row in anatomy.counts(model)]
    described = {
        "family": {"name": model.config.model_type, "about": family.about, "kind": family.kind},
        "class": type(model).__name__,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "parts": parts,
        "parameters": sum(part["parameters"] for part in parts),
        "places": _places(model),
        **_sizes(model.config, family),
        **(picture_tokens(seen) if family.takes_pictures else {}),
    }
    if family.kind in ("multimodal", "language"):
        described["positions"] = family.positions
        described["can"] = {
            name: {"can": bool(ability), "reason": ability.reason}
            for name, ability in (
                ("custom_token_count", family.custom_token_count),
                ("pack", family.pack),
                ("prune", family.prune),
                ("interleave", family.interleave),
            )
        }
    if layers:
        described["layers"] = _layers(model)
    return described


def _path(model: Any, family: Any, part: str) -> str:
    """Where a part is in the model: as the family tells, and for the language model as the model does."""
    if part == "tower" and family.tower is not None:
        return family.tower
    if part == "connector":
        return ", ".join(family.connector)
    if part in family.places:
        found = {name for names in (model.named_modules(), model.named_parameters()) for name, _ in names}
        return ", ".join(path for path in family.places[part] if path in found)
    if part == "language":
        halves = [
            id(half) for half in (model.get_decoder(), model.get_output_embeddings()) if half is not None
        ]
        return ", ".join(name for name, module in model.named_modules() if id(module) in halves)
    return ""


def _places(model: Any) -> dict[str, str]:
    """Where the inner parts are, and how many blocks a list has: ``language.layers`` → ``28 × Qwen2DecoderLayer``."""
    from torch import nn

    from vitrail.models import anatomy

    names = {id(module): name for name, module in model.named_modules()}
    found = {}
    for part, module in anatomy.parts(model).items():
        if "." not in part:
            continue
        what = type(module).__name__
        if isinstance(module, nn.ModuleList) and len(module):
            what = f"{len(module)} × {type(module[0]).__name__}"
        place = names.get(id(module))
        found[part] = f"{what} at {place}" if place else what
    return found


def _sizes(config: Any, family: Any) -> dict[str, Any]:
    """Layers, width and vocabulary of the language model or encoder, and of a vision transformer."""
    text = config.get_text_config()
    found: dict[str, Any] = {
        "language": {
            "family": text.model_type,
            "layers": text.num_hidden_layers,
            "width": text.hidden_size,
            "vocabulary": text.vocab_size,
        }
    }
    kinds = getattr(text, "layer_types", None)
    if kinds and len(set(kinds)) > 1:
        found["language"]["kinds"] = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    if family.kind == "multimodal":
        found["placeholder"] = getattr(config, "image_token_id", None)
    return found


def picture_tokens(seen: Shapes) -> dict[str, Any]:
    """What pictures become: for our own models the grids in tower and language model, for the others the tiles and
    tokens of a few sizes; ``pictures_unknown`` says why they cannot be told.
    """
    model: Any = seen.model
    tower: Any = getattr(model, "tower", None)
    connector: Any = getattr(model, "connector", None)
    if hasattr(tower, "grid") and hasattr(connector, "grid"):
        size = getattr(tower, "image_size", 224)
        grid = tower.grid(size, size)
        return {
            "image_size": size,
            "tower_grid": list(grid),
            "tower_width": tower.width,
            "image_grid": list(connector.grid(*grid)),
            "tokens_an_image": connector.num_tokens(*grid),
        }
    if seen.planner is None:
        return {"pictures_unknown": seen.why}
    return {"pictures": [_picture(seen.planner, *size) for size in TYPICAL_SIZES]}


def _picture(planner: Any, width: int, height: int) -> dict[str, Any]:
    try:
        plan = planner(width, height)
    except ValueError as error:
        return {"width": width, "height": height, "refused": str(error)}
    sizes = {tile.size for tile in plan.tiles}
    return {
        "width": width,
        "height": height,
        "tiles": len(plan.tiles),
        "tile_sizes": sorted(map(list, sizes)),
        "tokens": plan.num_tokens,
    }


def _layers(model: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": type(module).__name__,
            "shape": ", ".join("×".join(map(str, p.shape)) for p in module.parameters(recurse=False)),
            "parameters": sum(p.numel() for p in module.parameters(recurse=False)),
        }
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]


def sentence(described: dict[str, Any]) -> str:
    """How a picture travels through one of our own models, in one line; empty for the others."""
    if "image_size" not in described:
        return ""
    size, (rows, cols), (out_rows, out_cols) = (
        described["image_size"],
        described["tower_grid"],
        described["image_grid"],
    )
    language = described["language"]
    return (
        f"picture {size} × {size} px → tower: {rows} × {cols} tokens of width {described['tower_width']} → "
        f"connector: {out_rows} × {out_cols} = {described['tokens_an_image']} tokens of width "
        f"{language['width']} → {language['family']}: {language['layers']} layers, "
        f"{language['vocabulary']:,} words"
    )

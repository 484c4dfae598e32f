"""A model's anatomy as plain values, for tables, plans and reports."""

from __future__ import annotations

from typing import Any


def describe(model: Any, layers: bool = False) -> dict[str, Any]:
    """Parts with their kinds and parameters, the language model's sizes, tokens a picture.

    ``model`` may be on the meta device. ``layers`` adds every module that holds parameters.
    """
    from vitrail.models import anatomy

    parts = [vars(row) for row in anatomy.counts(model)]
    text = model.config.get_text_config()
    described = {
        "parts": parts,
        "parameters": sum(part["parameters"] for part in parts),
        "language": {
            "family": text.model_type,
            "layers": text.num_hidden_layers,
            "width": text.hidden_size,
            "vocabulary": text.vocab_size,
        },
        **picture_tokens(model),
    }
    if layers:
        described["layers"] = [
            {
                "name": name,
                "kind": type(module).__name__,
                "shape": ", ".join("×".join(map(str, p.shape)) for p in module.parameters(recurse=False)),
                "parameters": sum(p.numel() for p in module.parameters(recurse=False)),
            }
            for name, module in model.named_modules()
            if any(True for _ in module.parameters(recurse=False))
        ]
    return described


def picture_tokens(model: Any) -> dict[str, Any]:
    """The grids that a picture becomes in the tower and in the language model; empty for foreign models."""
    tower: Any = getattr(model, "tower", None)
    connector: Any = getattr(model, "connector", None)
    if not hasattr(tower, "grid") or not hasattr(connector, "grid"):
        return {}
    size = getattr(tower, "image_size", 224)
    grid = tower.grid(size, size)
    return {
        "image_size": size,
        "tower_grid": list(grid),
        "tower_width": tower.width,
        "image_grid": list(connector.grid(*grid)),
        "tokens_an_image": connector.num_tokens(*grid),
    }


def sentence(described: dict[str, Any]) -> str:
    """How a picture travels through the model, in one line; empty for foreign models."""
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

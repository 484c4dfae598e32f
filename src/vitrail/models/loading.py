"""Load a model of ours, saved by a run, or by path or hub name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vitrail.models  # noqa: F401  (registers the Auto classes)
from vitrail.models.bundle import Bundle


def load(path: str | Path, *, max_length: int | None = None, **options: Any) -> Bundle:
    """Load ``path`` (a folder, or a hub name) in evaluation mode.

    Weights come from safetensors only, and remote code never runs. ValueError if the folder does not hold a model, or
    if weights are missing or left over: transformers alone would fill the gaps with random numbers.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    place = Path(path)
    if place.exists() and not (place / "config.json").exists():
        inner = place / "model"
        if not (inner / "config.json").exists():
            raise ValueError(
                f"{place} holds no config.json: it is neither a model's folder nor a run with a finished model"
            )
        place = inner
    source = str(place) if place.exists() else str(path)
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    if config.model_type != "vitrail":
        raise ValueError(
            f"{source} is a {config.model_type!r} model; this version loads models of type 'vitrail' only"
        )
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        source,
        config=config,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    model, info = loaded
    wrong = {
        name: sorted(map(str, info[name]))
        for name in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info[name]
    }
    if wrong:
        raise ValueError(f"the weights in {source} do not fit its configuration: {wrong}")
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    return Bundle.of(model.eval(), processor, name=str(path), max_length=max_length)

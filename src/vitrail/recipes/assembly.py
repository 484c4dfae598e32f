"""From a recipe's ``model`` to the real model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes.components import Tower as TowerConfig
from vitrail.recipes.schema import Model, Quantization
from vitrail.recipes.shapes import connector_of

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


def build(model: Model, seed: int = 0, cache: Path | None = None) -> Bundle:
    """The model with its pretrained parts; what is fresh is drawn with ``seed``.

    Parameters all require gradients or not as their parts come; a stage decides what trains. LoRA adapters,
    if the recipe asks for them, are in place. ValueError if a ready model cannot be loaded.
    """
    import torch

    from vitrail.recipes.trained import resolved

    model = resolved(model)
    if (dual := getattr(model, "dual_encoder", None)) is not None:
        from vitrail.recipes import dual_encoders

        return dual_encoders.build(dual, seed, cache)
    bundle = _without_adapters(model, seed, cache)
    if model.path is None and model.dtype != "auto":
        bundle.model.to(getattr(torch, model.dtype))
    bundle = _operated(bundle, model, seed)
    if model.quantization is not None:
        _quantise(bundle.model, model.quantization)
    if model.lora is not None:
        from vitrail.recipes.adapters import add_lora

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            add_lora(bundle.model, model.lora)
    return bundle


def _operated(bundle: Bundle, model: Model, seed: int) -> Bundle:
    """The bundle after the recipe's surgeries; its encoder counts the tokens that they leave."""
    for surgery in model.surgeries:
        bundle = bundle.operated(surgery.name, surgery.settings, seed=seed)
    if model.surgeries:
        bundle.model.eval()
    return bundle


def _quantise(model: Any, settings: Quantization) -> None:
    import torch

    from vitrail.models.quantising import quantise
    from vitrail.recipes.adapters import linear_layers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    compute = None if settings.compute == "auto" else getattr(torch, settings.compute)
    if settings.compute == "auto" and device == "cuda":
        compute = torch.bfloat16
    layers = linear_layers(model, settings.where, "model.quantization.where")
    quantise(
        model,
        layers,
        bits=settings.bits,
        kind=settings.kind,
        double=settings.double,
        compute=compute,
        device=device,
    )


def _without_adapters(model: Model, seed: int, cache: Path | None) -> Bundle:
    if model.path is not None:
        return _ready(model, model.path)
    if model.testbed is not None:
        from importlib import import_module

        testbed = import_module(f"vitrail.models.testbeds.{model.testbed}")
        options = {"cache": cache} if model.testbed == "small" else {}
        return testbed.build(connector=connector_of(model), seed=seed, **options)
    return _from_parts(model, seed)


def _ready(model: Model, path: str) -> Bundle:
    import torch

    from vitrail.models.bundle import Bundle
    from vitrail.models.loading import load

    bundle = load(path, dtype=None if model.dtype == "auto" else getattr(torch, model.dtype))
    if model.image is None:
        return bundle
    from vitrail.recipes.image_settings import apply

    apply(bundle.processor, model.image)
    return Bundle.of(bundle.model, bundle.processor, name=bundle.name)


def _from_parts(model: Model, seed: int) -> Bundle:
    import torch

    from vitrail.models.joining import join
    from vitrail.recipes import languages

    assert model.language is not None
    if model.tower is None:
        return languages.build(model.language, seed)
    language, tokenizer = languages.language_and_tokenizer(model.language, seed)
    connector = connector_of(model)
    assert connector is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = build_tower(model.tower)
    return join(
        tower=tower,
        tower_name=model.tower.name,
        language=language,
        tokenizer=tokenizer,
        connector=connector,
        seed=seed,
        name=model.language.name or language.config.model_type,
    )


def build_tower(tower: TowerConfig) -> Any:
    """The tower that a recipe names, its pretrained weights included."""
    if tower.weights is None:
        return tower.build()
    settings = {key: value for key, value in tower.settings.items() if key != "weights"}
    return tower.component().from_pretrained(tower.weights, **settings)


def place(bundle: Bundle, device: str = "auto") -> Bundle:
    """The bundle with its model on ``device``; ``"auto"`` is an accelerator where there is one."""
    import torch

    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    bundle.model.to(device)
    return bundle

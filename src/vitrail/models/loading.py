"""Load a model by path or hub name: ours, or one of transformers' that a family is known for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vitrail.models  # noqa: F401  (registers the Auto classes)
from vitrail.models.bundle import Bundle
from vitrail.models.families.table import family_of
from vitrail.models.folders import first_line, load_processor
from vitrail.models.surgery import operating


def load(
    path: str | Path,
    *,
    max_length: int | None = None,
    dtype: Any = None,
    trust_remote_code: bool = False,
    **options: Any,
) -> Bundle:
    """Load ``path`` (a model's folder, a run's, or a hub name) in evaluation mode.

    Args:
        path: where it is.
        max_length: the most tokens a record may have.
        dtype: of the weights (default: as the configuration says).
        trust_remote_code: True runs Python files of the folder or repository. Nothing else does.
        options: further arguments of ``from_pretrained``.

    Weights come from safetensors only. ValueError if the folder does not hold a model, if its family is not known, or
    if weights are missing or left over: transformers alone would fill the gaps with random numbers.
    """
    source = model_source(path)
    config = load_config(source, trust_remote_code=trust_remote_code)
    family = family_of(config)
    if family.kind == "dual encoder":
        from vitrail.models.dual_loading import load_dual_encoder

        return load_dual_encoder(path, max_length=max_length, dtype=dtype, **options)
    if family.kind == "encoder":
        from vitrail.models.text_encoders import load_text_encoder

        return load_text_encoder(path, max_length=max_length, dtype=dtype, **options)
    if dtype is not None:
        options["dtype"] = dtype
    model = _load_model(source, config, trust_remote_code, options)
    processor = load_processor(source, family, trust_remote_code=trust_remote_code)
    return Bundle.of(model.eval(), processor, name=str(path), max_length=max_length)


def model_source(path: str | Path) -> str:
    """The folder that holds the model at ``path``, or the hub name that it is.

    ValueError for a folder that holds no model.
    """
    place = Path(path)
    if place.exists() and not (place / "config.json").exists():
        inner = place / "model"
        if not (inner / "config.json").exists():
            raise ValueError(
                f"{place} holds no config.json: it is neither a model's folder nor a run with a finished model"
            )
        place = inner
    return str(place) if place.exists() else str(path)


def load_config(source: str, *, trust_remote_code: bool = False) -> Any:
    """The configuration in ``source``. ValueError if it cannot be read, or asks for remote code unasked."""
    from types import SimpleNamespace

    from transformers import AutoConfig, PretrainedConfig

    try:
        raw, _ = PretrainedConfig.get_config_dict(source)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the configuration of {source} cannot be read: {first_line(error)}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise ValueError(f"config.json of {source} names no model_type: it is not a model of transformers")
    if "auto_map" in raw and not trust_remote_code:
        raise ValueError(
            f"{source} asks to run Python code of its own (auto_map in config.json); load a version in transformers' "
            "own format, or pass trust_remote_code=True if you trust it"
        )
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    except ValueError:
        family_of(SimpleNamespace(model_type=raw["model_type"], **_vision(raw)))
        raise


def _vision(raw: dict[str, Any]) -> dict[str, Any]:
    return {"vision_config": raw["vision_config"]} if "vision_config" in raw else {}


def model_class(config: Any) -> Any:
    """The class in transformers that a configuration names in ``architectures``. ValueError if there is none."""
    import transformers
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    names = list(getattr(config, "architectures", None) or [])
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        mapping = auto._model_mapping
        if type(config) in mapping:
            classes: Any = mapping[type(config)]
            known = classes if isinstance(classes, (list, tuple)) else [classes]
            return next((kind for kind in known if kind.__name__ in names), known[0])
    found = next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)
    if found is None:
        raise ValueError(
            f"transformers has no class for this model (architectures: {', '.join(names) or 'none given'}); "
            "save it in transformers' own format, or upgrade transformers"
        )
    return found


def from_safetensors(
    kind: Any, source: str, config: Any, *, left_over: tuple[str, ...] = (), **options: Any
) -> Any:
    """``kind.from_pretrained``, of safetensors alone, with every weight in its place.

    ``left_over``: parts of names of weights that the file may hold though the model has no place for them. ValueError
    for other formats, damaged files, and weights that are missing, left over or of another shape.
    """
    from safetensors import SafetensorError

    options = {"trust_remote_code": False, **options}
    try:
        model, info = kind.from_pretrained(
            source,
            config=config,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are told, and refused below
            **options,
        )
    except SafetensorError as error:
        raise ValueError(f"the weights of the model in {source} are damaged: {first_line(error)}") from None
    except OSError as error:
        raise ValueError(
            f"{source} has no weights in safetensors that fit; other formats (.bin, .pt) can run code and are not "
            f"loaded. Convert it with save_pretrained. ({first_line(error)})"
        ) from None
    further = [name for name in info["unexpected_keys"] if not any(part in name for part in left_over)]
    found = {**info, "unexpected_keys": further}
    names = ("missing_keys", "unexpected_keys", "mismatched_keys")
    wrong = {name: sorted(map(str, found[name])) for name in names if found.get(name)}
    if wrong:
        raise ValueError(f"the weights in {source} do not fit its configuration: {wrong}")
    return model


def _load_model(source: str, config: Any, trust_remote_code: bool, options: dict[str, Any]) -> Any:
    kind = model_class(config)
    changed = any(True for _ in operating.done(config))
    built: Any = operating.operated_class(kind, config) if changed else kind
    model = from_safetensors(built, source, config, trust_remote_code=trust_remote_code, **options)
    if changed:
        model.__class__ = kind
        operating.after_load(model)
    return model

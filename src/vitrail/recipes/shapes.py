"""A recipe's model as shapes alone: parameters without values, and what a picture of a size becomes.

Only descriptions are read (``config.json``, and where they are there those of image processor and tokenizer), of a
folder or of a hub's model by name. A model of any size takes a moment and no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from vitrail.recipes.schema import Model

if TYPE_CHECKING:
    from vitrail.data.image_plans.plan import ImagePlanner
    from vitrail.models.encoding import ChatEncoder
    from vitrail.models.families.family import Family

# What the testbed *small* is made of, so that a plan needs neither weights nor network.
SMOLLM2_135M: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True)
class Shapes:
    """``model`` lies on the meta device, adapters in place. ``planner`` is None where no picture can be planned, and
    ``why`` says why not. ``encoder`` encodes records as training does; None where there is no tokenizer.
    """

    model: Any
    family: Family
    planner: ImagePlanner | None = None
    encoder: ChatEncoder | None = None
    why: str = ""


def on_meta(model: Model) -> Any:
    """The model's shapes on the meta device: right parameter counts and types, no weights, no memory.

    ValueError where there is no configuration, or the family is not known.
    """
    import torch

    from vitrail.models.surgery import operating

    config, kind = _described(model)
    with torch.device("meta"):
        built = operating.operated_class(kind, config)(config)
        for surgery in model.surgeries:
            operating.outline(built, surgery.name, surgery.settings)
    if (dtype := _dtype(model, config)) is not None:
        built.to(dtype)
    if model.lora is not None:
        from vitrail.recipes.adapters import add_lora

        with torch.device("meta"):
            add_lora(built, model.lora)
    return built


def shapes(model: Model) -> Shapes:
    """The model on the meta device with its image planner, as far as the files that are there tell."""
    from vitrail.models.families.table import family_of

    built = on_meta(model)
    family = family_of(built.config)
    encoder, why = _encoder(model, family, built.config)
    if encoder is not None:
        return Shapes(built, family, encoder.planner, encoder, "" if encoder.planner else why)
    if not family.takes_pictures:
        return Shapes(built, family, why="the model takes no pictures")
    if hasattr(getattr(built, "connector", None), "grid"):
        return Shapes(built, family, _own_planner(built))
    try:
        return Shapes(built, family, _planner(model, family, built.config))
    except ValueError as error:
        return Shapes(built, family, why=str(error))


def _described(model: Model) -> tuple[Any, Any]:
    """The configuration of a model and the class that is built from it."""
    from vitrail.models import VitrailConfig, VitrailForConditionalGeneration

    if is_text_alone(model):
        return _text_alone(model)
    if model.path is None:
        return _config_of(model, VitrailConfig), VitrailForConditionalGeneration
    from vitrail.models.families.table import family_of
    from vitrail.models.loading import load_config, model_class

    config = load_config(source_of(model.path))
    if family_of(config).kind in ("multimodal", "language"):
        return config, model_class(config)
    return config, _encoder_class(config)


def is_text_alone(model: Model) -> bool:
    """Whether the model is a language model from a configuration, without a tower."""
    return model.language is not None and model.tower is None


def _text_alone(model: Model) -> tuple[Any, Any]:
    from vitrail.models.loading import model_class
    from vitrail.recipes.languages import config_of, tokenizer_of

    assert model.language is not None
    config = config_of(model.language, tokenizer_of(model.language))
    return config, model_class(config)


def _encoder_class(config: Any) -> Any:
    """The class that an encoder's configuration names, so that its head is among the parts; else the bare encoder."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    names = list(getattr(config, "architectures", None) or [])
    named = next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)
    return named if named is not None else MODEL_MAPPING[type(config)]


def source_of(path: str) -> str:
    """The folder that holds a model (a run's own, too), or the hub name. ValueError for a folder without one."""
    from vitrail.models.loading import model_source

    try:
        return model_source(path)
    except ValueError as error:
        raise ValueError(f"model.path: {error}; give a model's folder, a run's, or a hub name") from None


def _dtype(model: Model, config: Any) -> Any:
    """The type of the base weights; None for transformers' own default."""
    import torch

    if model.dtype != "auto":
        return getattr(torch, model.dtype)
    found = getattr(config, "dtype", None) if model.path is not None else None
    return getattr(torch, found) if isinstance(found, str) else found


_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


def _encoder(model: Model, family: Family, config: Any) -> tuple[ChatEncoder | None, str]:
    """The encoder of a ready model, or why there is none."""
    from vitrail.models.bundle import encoder_of
    from vitrail.models.folders import load_processor
    from vitrail.recipes.image_settings import apply

    if is_text_alone(model):
        from vitrail.models.folders import ProcessorParts
        from vitrail.recipes.languages import tokenizer_of

        assert model.language is not None
        return encoder_of(
            family, ProcessorParts(tokenizer_of(model.language)), config
        ), "the model takes no pictures"
    if model.path is None or family.kind not in ("multimodal", "language"):
        return None, ""
    source = source_of(model.path)
    if Path(source).is_dir() and not any((Path(source) / name).is_file() for name in _TOKENIZERS):
        return None, f"{source} has no tokenizer"
    try:
        processor = load_processor(source, family)
        if model.image is not None:
            apply(processor, model.image)
        return encoder_of(family, processor, config), "the model takes no pictures"
    except ValueError as error:
        return None, str(error)


def _own_planner(built: Any) -> ImagePlanner:
    from vitrail.data.image_plans.fixed import Fixed

    side = getattr(built.tower, "image_size", 224)
    grid = built.tower.grid(side, side)
    rows, cols = built.connector.grid(*grid)
    texts, around = built.connector.cell_texts(*grid), built.connector.around
    return Fixed(rows, cols, (side, side), cell_texts=texts, around=around)


def _planner(model: Model, family: Family, config: Any) -> ImagePlanner:
    """From the image processor's description alone; special tokens have no names then."""
    from vitrail.recipes.image_settings import changed

    assert model.path is not None and family.planner is not None
    images = image_processor_of(source_of(model.path), family)
    if model.image is not None:
        images = changed(images, model.image)
    return family.planner(SimpleNamespace(image_processor=images, tokenizer=_Nameless()), config)


def image_processor_of(source: str, family: Family) -> Any:
    """The image processor that a folder or hub name describes. ValueError where there is no description."""
    # Not from the top: there transformers 5.17 asks for torchvision.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        place = f"{source} has" if not Path(source).is_dir() else f"the folder {source} has"
        raise ValueError(
            f"{place} no preprocessor_config.json that can be read, which says how pictures are cut "
            f"({family.image_processor}); put it beside config.json ({first})"
        ) from None


class _Nameless:
    """In place of a tokenizer that is not there: a special token is named by its number."""

    def convert_ids_to_tokens(self, index: int) -> str:
        return f"<{index}>"


def _config_of(model: Model, kind: Any) -> Any:
    from transformers import AutoConfig

    from vitrail.recipes.languages import text_config_of

    if model.testbed in ("nano", "nano_pretrained"):
        # Less than two million parameters: built in a moment.
        tiny = import_module(f"vitrail.models.testbeds.{model.testbed}")
        return tiny.build(connector=connector_of(model)).model.config
    if model.testbed == "small":
        from vitrail.models.testbeds.small import DEFAULT_CONNECTOR

        text = {**SMOLLM2_135M, "vocab_size": SMOLLM2_135M["vocab_size"] + 1}
        return kind(
            tower={"name": "efficientnet_lite"},
            connector=connector_of(model) or dict(DEFAULT_CONNECTOR),
            text_config=text,
            image_token_id=text["vocab_size"] - 1,
        )
    assert model.tower is not None and model.connector is not None and model.language is not None
    tower = {"name": model.tower.name, **model.tower.settings}
    weights = tower.pop("weights", None)
    if weights is not None:
        vision = AutoConfig.from_pretrained(weights)
        if tower["name"] == "s2":  # weights are those of the tower inside
            base = tower.get("base", "huggingface")
            tower["base"] = {"name": base} if isinstance(base, str) else dict(base)
        inner = tower["base"] if tower["name"] == "s2" else tower
        inner["vision_config"] = getattr(vision, "vision_config", vision).to_dict()
    text_config = text_config_of(model.language)
    return kind(tower=tower, connector=connector_of(model), text_config=text_config, image_token_id=0)


def connector_of(model: Model) -> dict[str, Any] | None:
    """The connector as a model's configuration has it."""
    return None if model.connector is None else {"name": model.connector.name, **model.connector.settings}

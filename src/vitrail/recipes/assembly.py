"""From a recipe's ``model`` to a model: the real one, or its shapes alone on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes.schema import Lora, Model

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

# What the testbed *small* is made of, so that a plan needs neither weights nor network.
_SMOLLM2_135M: dict[str, Any] = {
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


def build(model: Model, seed: int = 0, cache: Path | None = None) -> Bundle:
    """The model with its pretrained parts; what is fresh is drawn with ``seed``.

    Parameters all require gradients or not as their parts come; a stage decides what trains. LoRA adapters,
    if the recipe asks for them, are in place. ValueError if a ready model cannot be loaded.
    """
    import torch

    bundle = _without_adapters(model, seed, cache)
    if model.lora is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            add_lora(bundle.model, model.lora)
    return bundle


def _without_adapters(model: Model, seed: int, cache: Path | None) -> Bundle:
    if model.path is not None:
        from vitrail.models.loading import load

        return load(model.path)
    if model.testbed is not None:
        from importlib import import_module

        testbed = import_module(f"vitrail.models.testbeds.{model.testbed}")
        options = {"cache": cache} if model.testbed == "small" else {}
        return testbed.build(connector=_connector(model), seed=seed, **options)
    return _from_parts(model, seed)


def _from_parts(model: Model, seed: int) -> Bundle:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from vitrail.models.joining import join

    assert model.tower is not None and model.connector is not None and model.language is not None
    name = model.language.name
    language = AutoModelForCausalLM.from_pretrained(
        name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    connector = _connector(model)
    assert connector is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = _build_tower(model)
    return join(
        tower=tower,
        tower_name=model.tower.name,
        language=language,
        tokenizer=AutoTokenizer.from_pretrained(name, trust_remote_code=False),
        connector=connector,
        seed=seed,
        name=name,
    )


def _connector(model: Model) -> dict[str, Any] | None:
    return None if model.connector is None else {"name": model.connector.name, **model.connector.settings}


def _build_tower(model: Model) -> Any:
    assert model.tower is not None
    if model.tower.weights is None:
        return model.tower.build()
    settings = {key: value for key, value in model.tower.settings.items() if key != "weights"}
    return model.tower.component().from_pretrained(model.tower.weights, **settings)


def place(bundle: Bundle, device: str = "auto") -> Bundle:
    """The bundle with its model on ``device``; ``"auto"`` is an accelerator where there is one."""
    import torch

    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    bundle.model.to(device)
    return bundle


def on_meta(model: Model) -> Any:
    """The model's shapes on the meta device: right parameter counts, no weights, no memory.

    Only configurations are read: of a folder, or of a hub's model by name.
    """
    import torch
    from transformers import AutoConfig

    from vitrail.models import VitrailConfig, VitrailForConditionalGeneration

    if model.path is not None:
        folder = Path(model.path)
        inner = folder / "model" if (folder / "model" / "config.json").is_file() else folder
        if folder.exists() and not (inner / "config.json").is_file():
            raise ValueError(f"model.path: {folder} holds no config.json; give a model's folder or a run's")
        config = AutoConfig.from_pretrained(inner if folder.exists() else model.path)
    else:
        config = _config_of(model, VitrailConfig)
    with torch.device("meta"):
        built = VitrailForConditionalGeneration(config)
        if model.lora is not None:
            add_lora(built, model.lora)
    return built


def _config_of(model: Model, kind: Any) -> Any:
    from transformers import AutoConfig

    if model.testbed == "nano":
        from vitrail.models.testbeds import nano

        # A few hundred thousand random parameters: built in a moment.
        return nano.build(connector=_connector(model)).model.config
    if model.testbed == "small":
        from vitrail.models.testbeds.small import DEFAULT_CONNECTOR

        text = {**_SMOLLM2_135M, "vocab_size": _SMOLLM2_135M["vocab_size"] + 1}
        return kind(
            tower={"name": "efficientnet_lite"},
            connector=_connector(model) or dict(DEFAULT_CONNECTOR),
            text_config=text,
            image_token_id=text["vocab_size"] - 1,
        )
    assert model.tower is not None and model.connector is not None and model.language is not None
    tower = {"name": model.tower.name, **model.tower.settings}
    weights = tower.pop("weights", None)
    if weights is not None:
        vision = AutoConfig.from_pretrained(weights)
        tower["vision_config"] = getattr(vision, "vision_config", vision).to_dict()
    text_config = AutoConfig.from_pretrained(model.language.name)
    return kind(tower=tower, connector=_connector(model), text_config=text_config, image_token_id=0)


def add_lora(model: Any, lora: Lora) -> None:
    """Put low-rank adapters on the language model's blocks, in place; the base weights stop training.

    The adapters live inside the decoder, so a target name cannot hit the tower. ValueError if none matches.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from torch import nn

    decoder = model.get_decoder()
    modules = decoder.named_modules()
    linear = {name.rpartition(".")[2] for name, module in modules if isinstance(module, nn.Linear)}
    targets = sorted(linear) if lora.targets == "all" else list(lora.targets)
    wrong = sorted(set(targets) - linear)
    if wrong:
        from vitrail.registry import nearest

        hint = nearest(wrong[0], sorted(linear))
        raise ValueError(f"model.lora.targets: the decoder has no linear layer {wrong[0]!r}; {hint}")
    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, bias="none"
    )
    inject_adapter_in_model(config, decoder)


def merge_lora(model: Any) -> int:
    """Fold the adapters into the base weights, in place; returns how many layers that were.

    Afterwards the model has the plain keys of a model without adapters.
    """
    from peft.tuners.lora import LoraLayer

    found = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in found:
        parent, _, own = name.rpartition(".")
        module.merge(safe_merge=True)
        setattr(model.get_submodule(parent), own, module.get_base_layer())
    return len(found)

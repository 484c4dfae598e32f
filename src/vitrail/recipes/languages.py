"""Language models from a configuration: random weights, and a tokenizer that is there already.

``model.language: {config: {model_type: llama, hidden_size: 512, …}, tokenizer: NAME}`` is any causal language model of
transformers. What the tokenizer decides (the vocabulary's size, the tokens that begin, end and pad) is filled in. A
tokenizer without a chat template gets ChatML's, and its two tokens where it lacks them, so that what was pretrained can
be talked to and tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail import registry
from vitrail.registry import nearest

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.recipes.schema import Language

TESTBEDS = ("nano", "nano_pretrained", "nano_multilingual")
"""Testbeds whose tokenizer may be named; all are inside the package."""
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_MASKED_IDS = ("cls_token_id", "sep_token_id")
_CHATML = ("<|im_start|>", "<|im_end|>")


def faults(config: dict[str, Any]) -> list[tuple[tuple[str, ...], str, Any]]:
    """What is wrong with the settings of a language model: field, why with the remedy, value. Nothing is built."""
    from transformers import AutoConfig

    from vitrail.settings.faults import NOTHING

    kind = config.get("model_type")
    if not isinstance(kind, str):
        return [
            (
                ("model_type",),
                "this field is required: the kind of model in transformers, such as 'llama'",
                kind,
            )
        ]
    if kind not in (known := [*model_types(), *masked_types()]):
        why = f"transformers has no causal language model or masked encoder of this type; {nearest(kind, known)}"
        return [(("model_type",), _shortened(why), kind)]
    settings = {name: value for name, value in config.items() if name != "model_type"}
    fields = _fields(kind)
    wrong = [name for name in settings if name not in fields]
    if wrong:
        return [
            ((name,), f"{kind} has no such setting; {nearest(name, fields)}", settings[name])
            for name in wrong
        ]
    try:
        AutoConfig.for_model(kind, **settings)
    except Exception as error:  # transformers' own checks raise what is no ValueError
        return [((), f"transformers does not take these settings: {_told(error)}", NOTHING)]
    return []


def model_types() -> list[str]:
    """The ``model_type`` of every causal language model of transformers that takes text alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    import vitrail.models.families.table  # noqa: F401  (registers the families)

    others = {name for name in registry.names("family") if registry.get("family", name).kind != "language"}
    return sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - others)


def masked_types() -> list[str]:
    """The ``model_type`` of every masked encoder that is known."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    import vitrail.models.families.table  # noqa: F401  (registers the families)

    kinds = {name: registry.get("family", name).kind for name in registry.names("family")}
    return sorted(
        name
        for name, kind in kinds.items()
        if kind == "encoder" and name in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )


def is_masked(language: Language) -> bool:
    """Whether it is a masked encoder from a configuration."""
    return language.config is not None and language.config.get("model_type") in masked_types()


def tokenizer_of(language: Language, chatml: bool = False) -> Any:
    """The tokenizer, with a chat template. ``chatml``: with ChatML's tokens, whatever its template.

    ValueError if it cannot be read.
    """
    from transformers import AutoTokenizer

    from vitrail.models.folders import first_line
    from vitrail.models.processing import CHAT_TEMPLATE

    name = language.tokenizer
    assert name is not None
    if name in TESTBEDS:
        found = _testbed_tokenizer(name)
    else:
        try:
            found = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except Exception as error:  # tokenizers raises Exception itself for a file that it cannot read
            raise ValueError(
                f"model.language.tokenizer: {name!r} has no tokenizer that can be read; give a folder, a hub name, or "
                f"{' or '.join(TESTBEDS)} ({first_line(error)})"
            ) from None
    if is_masked(language):
        return found
    if chatml or not found.chat_template:
        lacking = [
            token for token in _CHATML if found.convert_tokens_to_ids(token) in (None, found.unk_token_id)
        ]
        if lacking:
            found.add_special_tokens(
                {"additional_special_tokens": lacking}, replace_extra_special_tokens=False
            )
    if not found.chat_template:
        found.chat_template = CHAT_TEMPLATE.replace("{{ image_token }}", "")
    if found.eos_token_id is None:
        found.eos_token = _CHATML[1]
    return found


def _testbed_tokenizer(name: str) -> Any:
    import copy
    from importlib import import_module

    return copy.deepcopy(import_module(f"vitrail.models.testbeds.{name}").tokenizer())


def config_of(language: Language, tokenizer: Any) -> Any:
    """The configuration of transformers, with what the tokenizer decides.

    ValueError for a vocabulary that is smaller than the tokenizer's, or tokens that are not the tokenizer's own.
    """
    from transformers import AutoConfig

    settings = dict(language.config or {})
    size = settings.setdefault("vocab_size", len(tokenizer))
    if size < len(tokenizer):
        raise ValueError(
            f"model.language.config.vocab_size is {size}, and the tokenizer {language.tokenizer!r} has "
            f"{len(tokenizer)} tokens; leave it out, or give {len(tokenizer)} or more"
        )
    fields = _fields(settings["model_type"]) if is_masked(language) else []
    for name in (*_IDS, *(one for one in _MASKED_IDS if one in fields)):
        own = getattr(tokenizer, name)
        if settings.get(name) not in (None, own):
            raise ValueError(
                f"model.language.config.{name} is {settings[name]}, and the tokenizer's is {own}; leave it out"
            )
        settings[name] = own
    if settings["pad_token_id"] is None:
        settings["pad_token_id"] = settings["eos_token_id"]
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def fresh(config: Any, seed: int) -> Any:
    """A language model or masked encoder with random weights, float32, drawn with ``seed``; the caller's random state
    stays."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    auto = AutoModelForMaskedLM if config.model_type in masked_types() else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return auto.from_config(config, dtype=torch.float32)


def language_and_tokenizer(language: Language, seed: int) -> tuple[Any, Any]:
    """The language model that stands behind a tower: the one of the name with its weights, or a fresh one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if is_masked(language):
        raise ValueError(
            "model.language.config is a masked encoder, which writes no text behind a tower; use a llama"
        )
    if language.config is not None:
        tokenizer = tokenizer_of(language, chatml=True)
        return fresh(config_of(language, tokenizer), seed), tokenizer
    assert language.name is not None
    model = AutoModelForCausalLM.from_pretrained(
        language.name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    return model, AutoTokenizer.from_pretrained(language.name, trust_remote_code=False)


def text_config_of(language: Language) -> Any:
    """The configuration of the language model behind a tower, for plans."""
    from transformers import AutoConfig

    if language.config is None:
        assert language.name is not None
        return AutoConfig.from_pretrained(language.name)
    tokenizer = tokenizer_of(language, chatml=True)
    config = config_of(language, tokenizer)
    config.vocab_size = max(config.vocab_size, len(tokenizer) + 1)  # the placeholder of pictures
    return config


def build(language: Language, seed: int = 0) -> Bundle:
    """A language model alone, with all that feeds it."""
    from vitrail.models.bundle import Bundle
    from vitrail.models.folders import ProcessorParts

    tokenizer = tokenizer_of(language)
    model = fresh(config_of(language, tokenizer), seed)
    if is_masked(language):
        from vitrail.models.text_encoders import TextEncoderBundle

        return TextEncoderBundle.of(
            model.eval(), ProcessorParts(tokenizer), name=str(model.config.model_type)
        )
    return Bundle.of(model.eval(), ProcessorParts(tokenizer), name=str(model.config.model_type))


def _fields(kind: str) -> list[str]:
    """What may be set in a configuration of a kind."""
    import inspect

    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind]
    taken = {name for name in inspect.signature(config.__init__).parameters if name not in ("self", "kwargs")}
    found = taken | set(config().to_dict()) | set(getattr(config, "attribute_map", ()))
    return sorted(name for name in found - {"model_type", "transformers_version"} if not name.startswith("_"))


def _told(error: Exception) -> str:
    """The last line of an error's text, where transformers says what it is about."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return lines[-1] if lines else type(error).__name__


def _shortened(text: str) -> str:
    return text if len(text) <= 240 else f"{text[:237]}..."

"""The families that vitrail knows, and finding the one of a configuration."""

from __future__ import annotations

from typing import Any

from vitrail import registry
from vitrail.models.families.family import Family

_HERE = "vitrail.models.families"
_BUILT_IN = {
    "own": {"vitrail": ("VITRAIL", "tower + connector + any language model")},
    "dual": {"vitrail_dual_encoder": ("VITRAIL_DUAL_ENCODER", "tower + any text encoder, in one space")},
    "llava": {
        "llava": ("LLAVA", "LLaVA-1.5"),
        "llava_next": ("LLAVA_NEXT", "LLaVA-NeXT (1.6)"),
        "llava_onevision": ("LLAVA_ONEVISION", "LLaVA-OneVision"),
    },
    "qwen": {
        "qwen2_vl": ("QWEN2_VL", "Qwen2-VL"),
        "qwen2_5_vl": ("QWEN2_5_VL", "Qwen2.5-VL"),
        "qwen3_vl": ("QWEN3_VL", "Qwen3-VL"),
    },
    "idefics": {"idefics3": ("IDEFICS3", "Idefics3"), "smolvlm": ("SMOLVLM", "SmolVLM and SmolVLM2")},
    "internvl": {"internvl": ("INTERNVL", "InternVL, in transformers' own format")},
    "ovis": {"ovis2": ("OVIS2", "Ovis2, in transformers' own format")},
    "gemma": {"paligemma": ("PALIGEMMA", "PaliGemma 1 and 2"), "gemma3": ("GEMMA3", "Gemma 3 with pictures")},
    "encoders": {
        "bert": ("BERT", "BERT"),
        "roberta": ("ROBERTA", "RoBERTa"),
        "xlm-roberta": ("XLM_ROBERTA", "XLM-R"),
        "modernbert": ("MODERNBERT", "ModernBERT"),
        "clip": ("CLIP", "CLIP"),
        "siglip": ("SIGLIP", "SigLIP"),
    },
}
for _module, _families in _BUILT_IN.items():
    for _model_type, (_name, _about) in _families.items():
        registry.register("family", _model_type, f"{_HERE}.{_module}:{_name}", _about)


def family_of(config: Any) -> Family:
    """The family of a configuration of transformers.

    A causal language model of transformers that is not in the table is of the plain kind: it needs nothing to be told.
    ValueError for any other, which says what would have to be told.
    """
    model_type = str(config.model_type)
    if model_type in registry.names("family"):
        return registry.get("family", model_type)
    if _is_causal_language_model(config):
        from vitrail.models.families.language import LANGUAGE

        return LANGUAGE
    raise ValueError(
        f"vitrail does not know the family {model_type!r}; {registry.nearest(model_type, registry.names('family'))} "
        "To tell it, register a vitrail.models.families.family.Family under this name with: tower, blocks and "
        "connector (paths of the modules), planner (how a picture of a size becomes tokens), stand_ins (what the chat "
        "template writes for a picture), pixels (how pictures become a batch), positions, and further (token types, "
        "if the model takes any); its module's docstring has an example"
    )


def _is_causal_language_model(config: Any) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = str(config.model_type) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return known and getattr(config, "vision_config", None) is None

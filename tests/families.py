"""Tiny models of transformers' families, built from their real configuration classes with random weights.

``MULTIMODAL`` lists the multimodal ones. ``build(name)`` gives a model; functions of the first ones' names also give
the number of visual tokens that a picture of 16 × 16 pixels becomes. ``save_family(name, folder)`` writes a folder
that loads like a hub's: model, tokenizer with the family's special tokens and chat template, image processor.
"""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as T

IMAGE = 150
VOCABULARY = 200
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 4,
}
# What weights are drawn with is multiplied by 10: at transformers' 0.02 a tiny model hardly sees its picture.
INIT = {"initializer_range": 0.2}
PINPOINTS = [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]]
# The ids of special tokens that a configuration names, where the tests need no tokenizer.
IDS = {
    "image": IMAGE,
    "video": 151,
    "begin": 152,
    "end": 153,
    "indicators": [154, 155, 156, 157, 158],
}


def _llava(text, ids):
    return T.LlavaConfig(
        vision_config=T.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=T.LlamaConfig(**text),
        image_token_index=ids["image"],
        vision_feature_layer=-1,
    )


def _llava_next(text, ids):
    return T.LlavaNextConfig(
        vision_config=T.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=T.LlamaConfig(**text),
        image_token_index=ids["image"],
        vision_feature_layer=-1,
        image_grid_pinpoints=PINPOINTS,
    )


def _llava_onevision(text, ids):
    return T.LlavaOnevisionConfig(
        vision_config=T.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=T.Qwen2Config(**text),
        image_token_index=ids["image"],
        video_token_index=ids["video"],
        # Four tiles a side, so that the limit of nine tiles ("anyres_max_9") is met.
        image_grid_pinpoints=[[16 * high, 16 * wide] for high in range(1, 5) for wide in range(1, 5)],
    )


def _qwen_ids(ids):
    return {
        "image_token_id": ids["image"],
        "video_token_id": ids["video"],
        "vision_start_token_id": ids["begin"],
        "vision_end_token_id": ids["end"],
    }


_MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
_QWEN_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "out_hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 4,
    "patch_size": 4,
}


def _qwen2_vl(text, ids):
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 4}
    return T.Qwen2VLConfig(
        text_config={**text, "rope_parameters": _MROPE}, vision_config=vision, **_qwen_ids(ids)
    )


def _qwen2_5_vl(text, ids):
    vision = {**_QWEN_VISION, "window_size": 16, "fullatt_block_indexes": [1]}
    return T.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": _MROPE}, vision_config=vision, **_qwen_ids(ids)
    )


def _qwen3_vl(text, ids):
    vision = {**_QWEN_VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return T.Qwen3VLConfig(
        text_config={**text, "head_dim": 8, "rope_parameters": _MROPE}, vision_config=vision, **_qwen_ids(ids)
    )


def _idefics3(text, ids):
    return T.Idefics3Config(
        vision_config=VISION, text_config=T.LlamaConfig(**text), image_token_id=ids["image"], scale_factor=2
    )


def _smolvlm(text, ids):
    return T.SmolVLMConfig(
        vision_config=VISION, text_config=T.LlamaConfig(**text), image_token_id=ids["image"], scale_factor=2
    )


def _internvl(text, ids):
    return T.InternVLConfig(
        vision_config={**VISION, "image_size": [16, 16], "patch_size": [4, 4]},
        text_config=T.Qwen2Config(**text),
        image_token_id=ids["image"],
        image_seq_length=4,
    )


def _ovis2(text, ids):
    return T.Ovis2Config(
        vision_config={**VISION, "vocab_size": 64, "hidden_stride": 2},
        text_config=T.Qwen2Config(**text),
        image_token_id=ids["image"],
        visual_indicator_token_ids=ids["indicators"],
        vocab_size=text["vocab_size"],
        hidden_size=32,
    )


def _paligemma(text, ids):
    return T.PaliGemmaConfig(
        vision_config=T.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=T.GemmaConfig(**text, head_dim=8),
        image_token_index=ids["image"],
        projection_dim=32,
        hidden_size=32,
        vocab_size=text["vocab_size"],
    )


def _gemma3(text, ids):
    sizes = {
        **text,
        "head_dim": 8,
        "sliding_window": 8,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
    }
    return T.Gemma3Config(
        vision_config=T.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=T.Gemma3TextConfig(**sizes),
        mm_tokens_per_image=4,
        image_token_index=ids["image"],
        boi_token_index=ids["begin"],
        eoi_token_index=ids["end"],
    )


_CONFIGS = {
    "llava": (_llava, T.LlavaForConditionalGeneration),
    "llava_next": (_llava_next, T.LlavaNextForConditionalGeneration),
    "llava_onevision": (_llava_onevision, T.LlavaOnevisionForConditionalGeneration),
    "qwen2_vl": (_qwen2_vl, T.Qwen2VLForConditionalGeneration),
    "qwen2_5_vl": (_qwen2_5_vl, T.Qwen2_5_VLForConditionalGeneration),
    "qwen3_vl": (_qwen3_vl, T.Qwen3VLForConditionalGeneration),
    "idefics3": (_idefics3, T.Idefics3ForConditionalGeneration),
    "smolvlm": (_smolvlm, T.SmolVLMForConditionalGeneration),
    "internvl": (_internvl, T.InternVLForConditionalGeneration),
    "ovis2": (_ovis2, T.Ovis2ForConditionalGeneration),
    "paligemma": (_paligemma, T.PaliGemmaForConditionalGeneration),
    "gemma3": (_gemma3, T.Gemma3ForConditionalGeneration),
}
MULTIMODAL = tuple(_CONFIGS)
"""The ``model_type`` of each multimodal family."""


def build(name, *, text=None, ids=None, seed=0):
    """A tiny model of a family of :data:`MULTIMODAL`, in evaluation mode, its weights drawn with ``seed``."""
    config, kind = _CONFIGS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind._from_config(config({**TEXT, **INIT, **(text or {})}, {**IDS, **(ids or {})}))
        if name == "gemma3":
            # transformers initialises it with zeros: such a model is blind.
            torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.2)
    return model.eval()


def save_family(name, folder, *, seed=0):
    """Write a tiny model of a family with tokenizer, chat template and image processor; returns the folder."""
    import family_files

    return family_files.save(name, Path(folder), seed=seed)


def llava():
    return build("llava"), 16


def qwen2vl():
    return build("qwen2_vl"), 4


def smolvlm():
    return build("smolvlm"), 4


def gemma3():
    return build("gemma3"), 4


def llama():
    """A plain language model of the same size."""
    return T.LlamaForCausalLM._from_config(T.LlamaConfig(**TEXT, **INIT))

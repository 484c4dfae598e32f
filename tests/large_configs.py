"""Descriptions (no weights) of models of seven billion parameters, of exactly their checkpoints' sizes."""

from __future__ import annotations

import json

import transformers as T

_CLIP_IMAGES = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 336},
    "crop_size": {"height": 336, "width": 336},
}
_QWEN_IMAGES = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
}


def llava():
    """llava-hf/llava-1.5-7b-hf: CLIP ViT-L/14 at 336 pixels and Vicuna-7B."""
    vision = T.CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = T.LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
    )
    return T.LlavaConfig(vision_config=vision, text_config=text, image_token_index=32000), _CLIP_IMAGES


def qwen2_5_vl():
    """Qwen/Qwen2.5-VL-7B-Instruct."""
    text = {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128000,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    return T.Qwen2_5_VLConfig(text_config=text, vision_config=vision), _QWEN_IMAGES


def write(make, folder):
    """The two small files that say what a model of this size is; returns the folder."""
    config, images = make()
    config.architectures = [{"llava": "LlavaForConditionalGeneration"}.get(
        config.model_type, "Qwen2_5_VLForConditionalGeneration")]  # fmt: skip
    config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder

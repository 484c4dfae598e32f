"""Tiny models of transformers' families, built from their real configuration classes with random weights.

The multimodal ones come with the number of visual tokens that a picture of 16 × 16 pixels becomes.
"""

from __future__ import annotations

import transformers as T

IMAGE = 150
TEXT = {
    "vocab_size": 200,
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


def llava():
    config = T.LlavaConfig(
        vision_config=T.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=T.LlamaConfig(**TEXT, **INIT),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
    )
    return T.LlavaForConditionalGeneration._from_config(config), 16


def qwen2vl():
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    config = T.Qwen2VLConfig(
        text_config={**TEXT, **INIT, "rope_parameters": rope},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 4},
        image_token_id=IMAGE,
        video_token_id=151,
        vision_start_token_id=152,
        vision_end_token_id=153,
    )
    return T.Qwen2VLForConditionalGeneration._from_config(config), 4


def smolvlm():
    config = T.SmolVLMConfig(
        vision_config=VISION, text_config=T.LlamaConfig(**TEXT, **INIT), image_token_id=IMAGE, scale_factor=2
    )
    return T.SmolVLMForConditionalGeneration._from_config(config), 4


def gemma3():
    text = T.Gemma3TextConfig(
        **TEXT,
        head_dim=8,
        sliding_window=8,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention"] * 2 + ["full_attention"],
    )
    config = T.Gemma3Config(
        vision_config=T.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=text,
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
        boi_token_index=151,
        eoi_token_index=152,
    )
    return T.Gemma3ForConditionalGeneration._from_config(config), 4


def llama():
    """A plain language model of the same size."""
    return T.LlamaForCausalLM._from_config(T.LlamaConfig(**TEXT, **INIT))

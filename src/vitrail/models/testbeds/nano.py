"""The testbed *nano*: the same architecture, built in a second from a config with random weights.

Its tokenizer is a byte-level BPE trained on a few lines shipped here, so any text can be encoded and ordinary
sentences about pictures are short.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import torch

from vitrail.models.bundle import Bundle
from vitrail.models.joining import fitting_processor
from vitrail.models.towers.huggingface import HuggingFaceTower
from vitrail.models.vlm import VitrailForConditionalGeneration

VOCABULARY = 1024
DEFAULT_CONNECTOR = {"name": "mlp", "pool": 2}
_VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "vision_use_head": False,
}
_LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}


@cache
def tokenizer() -> Any:
    """The nano tokenizer: byte-level BPE with ChatML's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = resources.files("vitrail.models.testbeds").joinpath("nano_corpus.txt").read_text("utf-8")
    built.train_from_iterator(corpus.splitlines(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=specials[1],
        eos_token=specials[2],
        pad_token=specials[2],
        unk_token=specials[0],
        clean_up_tokenization_spaces=False,
    )


def build(
    seed: int = 0,
    *,
    language: str = "llama",
    language_config: dict[str, Any] | None = None,
    vision_config: dict[str, Any] | None = None,
    connector: dict[str, Any] | None = None,
) -> Bundle:
    """A nano model with random weights drawn with ``seed``.

    ``language`` is the ``model_type`` of any causal language model of transformers; the two configurations override
    single sizes.
    """
    import copy

    from transformers import AutoConfig, AutoModelForCausalLM

    own = copy.deepcopy(tokenizer())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = HuggingFaceTower(HuggingFaceTower.Config(vision_config={**_VISION, **(vision_config or {})}))
        settings = dict(connector or DEFAULT_CONNECTOR)
        processor = fitting_processor(own, tower, settings)
        sizes = {**_LANGUAGE, **(language_config or {}), "vocab_size": len(own)}
        ids = {
            "bos_token_id": own.bos_token_id,
            "eos_token_id": own.eos_token_id,
            "pad_token_id": own.pad_token_id,
        }
        torch.manual_seed(seed)
        text_config = AutoConfig.for_model(language, **sizes, **ids)
        model = VitrailForConditionalGeneration.from_parts(
            tower=tower,
            tower_name="huggingface",
            connector=settings,
            language=AutoModelForCausalLM.from_config(text_config),
            image_token_id=processor.image_token_id,
        )
    return Bundle.of(model.eval(), processor, name="nano")

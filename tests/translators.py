"""Tiny models that translate words into words at random, as folders of Hugging Face."""

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

QUESTION = "What colour is the big dog to the left of the tall tree, and who holds it by a rope?"
_WORDS = dict.fromkeys(QUESTION.replace(",", "").replace("?", "").split())
SIGNS = ["</s>", "<pad>", "<unk>", "en", "de", "say", *_WORDS]
SIZES = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "d_model": 16, "max_position_embeddings": 128}  # fmt: skip
ENDS = {"eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1, "vocab_size": len(SIGNS)}


def translator_folder(folder, kind="marian", seed=0):
    """A model that translates words into words at random, as a folder."""
    torch.manual_seed(seed)
    if kind == "t5":
        config = transformers.T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, **ENDS)
        model = transformers.T5ForConditionalGeneration(config)
    else:
        name = {"marian": "Marian", "m2m_100": "M2M100"}[kind]
        config = getattr(transformers, f"{name}Config")(
            **SIZES, **ENDS, forced_eos_token_id=0, bos_token_id=0
        )
        model = getattr(
            transformers, {"marian": "MarianMTModel"}.get(kind, f"{name}ForConditionalGeneration")
        )(config)
    tokenizer = Tokenizer(models.WordLevel({sign: place for place, sign in enumerate(SIGNS)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=128,
    ).save_pretrained(folder)
    return str(folder)

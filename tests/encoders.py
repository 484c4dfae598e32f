"""Tiny masked encoders of transformers (BERT, XLM-R, ModernBERT) with tokenizers of their kind."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import transformers as T
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from vitrail.data.translations import INVENTED, Translations

KINDS = ("bert", "xlm-roberta", "modernbert")
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 80,
}
NAMES = ("pad", "unk", "cls", "sep", "mask")

CONLLU = """\
# sent_id = 1
# text = Ada Lovelace didn't sleep.
1\tAda\tAda\tPROPN\t_\t_\t4\tnsubj\t_\tNER=B-PER
2\tLovelace\tLovelace\tPROPN\t_\t_\t1\tflat\t_\tNER=I-PER
3-4\tdidn't\t_\t_\t_\t_\t_\t_\t_\t_
3\tdid\tdo\tAUX\t_\t_\t5\taux\t_\t_
4\tn't\tnot\tPART\t_\t_\t5\tadvmod\t_\t_
5\tsleep\tsleep\tVERB\t_\t_\t0\troot\t_\tSpaceAfter=No
5.1\tnow\tnow\tADV\t_\t_\t_\t_\t_\t_
6\t.\t.\tPUNCT\t_\t_\t5\tpunct\t_\t_

1\tनदी\tनदी\tNOUN\t_\t_\t0\troot\t_\t_
2\tबहती\tबहना\tVERB\t_\t_\t1\tdep\t_\tSpaceAfter=No
"""
"""Two sentences, with names, a contraction and a script of its own."""


def corpus():
    return [
        record.content[0].text
        for language in INVENTED
        for record in Translations(("english", language), 60, "sentences", seed=3)
    ]


@cache
def tokenizer(kind):
    """WordPiece (BERT), Unigram over SentencePiece's words (XLM-R), or byte-level BPE (ModernBERT)."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    options = {"vocab_size": 420, "special_tokens": special, "show_progress": False}
    if kind == "bert":
        built = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        built.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=True)
        built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(**options)
    elif kind == "xlm-roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        built = Tokenizer(models.Unigram())
        built.normalizer = normalizers.NFKC()
        built.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(**{**options, "special_tokens": special}, unk_token="<unk>")
    else:
        built = Tokenizer(models.BPE(unk_token="[UNK]"))
        built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        built.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(**options, initial_alphabet=alphabet)
    built.train_from_iterator(corpus(), trainer)
    pad, unk, cls, sep, mask = (
        special if kind != "xlm-roberta" else ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    )
    between = f" {sep}" if kind == "xlm-roberta" else ""
    built.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep}{between} $B {sep}",
        special_tokens=[(one, built.token_to_id(one)) for one in (cls, sep)],
    )
    named = dict(zip(NAMES, (pad, unk, cls, sep, mask), strict=True))
    if kind == "xlm-roberta":
        named |= {"bos": cls, "eos": sep}
    return T.PreTrainedTokenizerFast(
        tokenizer_object=built, model_max_length=80, **{f"{name}_token": one for name, one in named.items()}
    )


def model(kind, seed=0):
    own = tokenizer(kind)
    ids = {"vocab_size": len(own), "pad_token_id": own.pad_token_id}
    if kind == "modernbert":
        ids |= {"cls_token_id": own.cls_token_id, "sep_token_id": own.sep_token_id}
        ids |= {"bos_token_id": own.cls_token_id, "eos_token_id": own.sep_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = T.AutoConfig.for_model(kind, **SIZES, **ids)
        return T.AutoModelForMaskedLM.from_config(config).eval()


def save(kind, folder):
    model(kind).save_pretrained(Path(folder))
    tokenizer(kind).save_pretrained(Path(folder))
    return Path(folder)


def bundle(kind):
    from vitrail.models.folders import ProcessorParts
    from vitrail.models.text_encoders import TextEncoderBundle

    return TextEncoderBundle.of(model(kind), ProcessorParts(tokenizer(kind)), name=kind)

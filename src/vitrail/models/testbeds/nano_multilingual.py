"""The tokenizer of the testbed *nano* for several languages: byte-level BPE of few pieces, with a token for masks.

It is trained here, on sentences of :mod:`vitrail.data.translations` in all of their languages, so that no file is
needed. Its vocabulary is small on purpose: a word of a rare language is several pieces, as it is in a large model's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

VOCABULARY = 900
SENTENCES = 600
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@cache
def tokenizer() -> Any:
    """A fast tokenizer with BERT's special tokens; pairs are ``[CLS] a [SEP] b [SEP]``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from vitrail.data.records import Document
    from vitrail.data.translations import INVENTED, Translations

    built = Tokenizer(models.BPE(unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [
        record.content[0].text  # type: ignore[union-attr]
        for language in INVENTED
        for record in Translations(("english", language), SENTENCES, "sentences", seed=1)
        if isinstance(record, Document)
    ]
    built.train_from_iterator(texts, trainer)
    cls, sep = (built.token_to_id(one) for one in ("[CLS]", "[SEP]"))
    built.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)},
    )

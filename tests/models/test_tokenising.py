"""Pieces tokenised apart give the tokens of the whole, for every kind of tokenizer; nothing in a text is special."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tokenizers as K
import transformers as T

import family_files
from vitrail.models.tokenising import PieceTokenizer, written_whole

CONTROL = ("<pad>", "</s>", "<s>", "<unk>")
TEXTS = ["a red cat", " two  dogs", "\nnew line\n\n", "né 猫 🐱", "1 234.5", "...", " ", "\n", "x<", "\t tab"]


def unigram(scheme):
    own = K.Tokenizer(K.models.Unigram())
    own.normalizer = K.normalizers.NFKC()
    own.pre_tokenizer = K.pre_tokenizers.Metaspace(prepend_scheme=scheme)
    trainer = K.trainers.UnigramTrainer(
        vocab_size=150, special_tokens=[*CONTROL, "<image>"], unk_token="<unk>", show_progress=False
    )
    own.train_from_iterator(family_files._corpus().split("\n"), trainer)
    own.add_special_tokens([K.AddedToken("<image>", special=True, normalized=False)])
    return own.to_str()


def digits_and_bytes():
    """As SmolLM2's: digits one by one, then a byte-level BPE."""
    own = K.Tokenizer.from_str(family_files.byte_level(("<|im_start|>", "<|im_end|>", "<image>")))
    own.pre_tokenizer = K.pre_tokenizers.Sequence(
        [K.pre_tokenizers.Digits(individual_digits=True), K.pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return own.to_str()


KINDS = {
    "llama": lambda: family_files.sentencepiece_like(CONTROL, ("<image>",), prefix_space=True),
    "legacy llama": lambda: family_files.sentencepiece_like(
        CONTROL, ("<image>",), prefix_space=True, legacy=True
    ),
    "gemma": lambda: family_files.sentencepiece_like(CONTROL, ("<image>",), prefix_space=False),
    "smollm2": digits_and_bytes,
    "unigram, first": lambda: unigram("first"),
    "unigram, always": lambda: unigram("always"),
}


@pytest.fixture(scope="module")
def kinds():
    found = {}

    def get(kind):
        if kind not in found:
            backend = K.Tokenizer.from_str(KINDS[kind]())
            unknown = "<unk>" if backend.token_to_id("<unk>") is not None else None
            found[kind] = T.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=unknown)
        return found[kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_behind_a_special_token_and_at_the_beginning(kinds, kind, text):
    tokenizer = kinds(kind)
    pieces = PieceTokenizer(tokenizer)
    assert pieces(text, "nothing").ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    image = tokenizer.convert_tokens_to_ids("<image>")
    for before in ("ab", "ab "):
        whole = tokenizer(f"{before}<image>{text}", add_special_tokens=False)["input_ids"]
        parts = [*pieces(before, "nothing").ids, image, *pieces(text, "special").ids]
        assert parts == whole


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_behind_another_text(kinds, kind, text):
    """Cut where a token ends anyway, the parts are the whole."""
    tokenizer = kinds(kind)
    pieces = PieceTokenizer(tokenizer)
    for before in ("ASSISTANT:", "Assistant:", "model\n"):
        found = tokenizer(before + text, add_special_tokens=False, return_offsets_mapping=True)
        ends = {end for _, end in found["offset_mapping"]}
        crosses = any(begin < len(before) < end for begin, end in found["offset_mapping"])
        if len(before) not in ends or crosses:
            continue
        parts = pieces(before, "nothing").ids + pieces(text, "text").ids
        assert parts == found["input_ids"], before


@pytest.mark.parametrize("kind", KINDS)
def test_spans_tell_the_characters(kinds, kind):
    pieces = PieceTokenizer(kinds(kind))
    text = "a red cat, two dogs"
    for before in ("nothing", "special", "text"):
        spans = pieces(text, before).spans
        assert spans[0][0] in (0, -1) and spans[-1][1] == len(text)
        assert all(end <= following_end for (_, end), (_, following_end) in pairwise(spans))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", ["nothing", "special", "text"])
def test_special_tokens_in_a_text_are_text(kinds, kind, before):
    tokenizer = kinds(kind)
    pieces = PieceTokenizer(tokenizer)
    ids = pieces("see <image> and</s>", before).ids
    assert not set(ids) & {tokenizer.convert_tokens_to_ids(t) for t in ("<image>", "</s>")} - {None}


@pytest.mark.parametrize(
    ("special", "text"),
    [
        (("<image>", "<|im_end|>"), "see <image> and <|im_end|>"),
        (("<image>", "picture"), "a picture of <image>"),
    ],
)
def test_a_special_text_is_tokenised_as_if_its_token_did_not_exist(special, text):
    def named(texts):
        backend = K.Tokenizer.from_str(family_files.byte_level(texts))
        return T.PreTrainedTokenizerFast(tokenizer_object=backend)

    plain = named(())(text, add_special_tokens=False)["input_ids"]
    assert PieceTokenizer(named(special))(text, "nothing").ids == plain


def test_a_placeholder_that_is_not_special_is_cut(kinds):
    tokenizer = T.PreTrainedTokenizerFast(tokenizer_object=K.Tokenizer.from_str(KINDS["smollm2"]()))
    tokenizer.add_tokens(["[IMG]"])
    image = tokenizer.convert_tokens_to_ids("[IMG]")
    assert image in PieceTokenizer(tokenizer)("an [IMG] here", "nothing").ids
    guarded = PieceTokenizer(tokenizer, never=[image])
    found = guarded("an [IMG] here [IMG]", "nothing")
    assert image not in found.ids
    assert tokenizer.decode(found.ids) == "an [IMG] here [IMG]"
    assert found.spans[-1][1] == len("an [IMG] here [IMG]")


def test_a_template_is_cut_at_its_special_tokens(kinds):
    tokenizer = kinds("smollm2")
    pieces = PieceTokenizer(tokenizer)
    find = tokenizer.convert_tokens_to_ids
    assert pieces.at_special_tokens("<|im_start|>user\n<image>") == [
        find("<|im_start|>"),
        "user\n",
        find("<image>"),
    ]
    assert pieces.at_special_tokens("") == [] and pieces.at_special_tokens("a b") == ["a b"]


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(ValueError, match=r"not a fast tokenizer; save it with a tokenizer\.json"):
        PieceTokenizer(object())


def test_a_tokenizer_is_written_whole_whatever_it_was_asked_last():
    tokenizer = family_files.tokenizer("qwen2_vl")
    before = written_whole(tokenizer)
    assert before == tokenizer.backend_tokenizer.to_str()
    tokenizer(["a cat", "a dog and a cat"], padding=True, truncation=True, max_length=3)
    assert tokenizer.backend_tokenizer.to_str() != before and written_whole(tokenizer) == before
    tokenizer.add_tokens(["<new>"])
    assert written_whole(tokenizer) != before

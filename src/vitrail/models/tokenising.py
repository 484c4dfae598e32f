"""Pieces of a rendered chat → tokens, as if the whole chat had been tokenised, while nothing in a text is special.

A rendered chat is cut at the special tokens that the *template* wrote, and what lies between two of them is tokenised
as plain text. Many tokenizers treat the beginning of their input in a way of its own (SentencePiece's "▁"), so a piece
from the middle is tokenised behind a guard, whose tokens are dropped.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

Before = Literal["nothing", "special", "text"]
"""What a piece follows: it begins the chat, or follows a special token or a picture, or other text."""

_PROBES = ("ab", " ab", "\nab", ". ab")
_GUARDS = ("\ue000", "0", "a", "\n", ".")


class Tokens(NamedTuple):
    """Tokens of a text, and the characters (begin, end) that each stands for."""

    ids: list[int]
    spans: list[tuple[int, int]]


class PieceTokenizer:
    """Tokenises pieces of chats with a fast tokenizer of transformers.

    ``never``: ids that no text may become beside the special ones (placeholders of pictures). A text that spells such a
    token, where the tokenizer's model itself would take it for one, is cut inside it. ValueError for a tokenizer that
    cannot tell which characters a token stands for.
    """

    def __init__(self, tokenizer: Any, never: Collection[int] = ()) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(tokenizer).__name__} is not a fast tokenizer; save it with a tokenizer.json"
            )
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self.special = set(tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}
        # An unknown character becomes the unknown token, which is no way of writing a special one.
        self._never = (frozenset(never) | self.special) - {tokenizer.unk_token_id}
        self._added = set(added)
        self._cache: dict[tuple[str, Before], Tokens] = {}
        self._split: dict[str, list[str | int]] = {}
        self._guarded = {"nothing": False, "text": self._text_depends_on_its_beginning()}
        self._guarded["special"] = self._guarded["text"] and self._behind_special_is_middle()

    def __call__(self, text: str, before: Before) -> Tokens:
        """Tokens of a plain text, as they are behind what is ``before`` it."""
        if not text:
            return Tokens([], [])
        tokens = self._behind_guard(text) if self._guarded[before] else self._plain(text)
        spelt = zip(tokens.ids, tokens.spans, strict=True)
        cut = next((end - 1 for token, (_, end) in spelt if token in self._never and end > 1), None)
        if cut is None:
            return tokens
        head, tail = self(text[:cut], before), self(text[cut:], "text")
        return Tokens(
            head.ids + tail.ids, head.spans + [(begin + cut, end + cut) for begin, end in tail.spans]
        )

    def kept(self, text: str, before: Before) -> Tokens:
        """As a call, remembered: for texts that come again, such as the template's own."""
        key = (text, before)
        if key not in self._cache:
            self._cache[key] = self(text, before)
        return self._cache[key]

    def at_special_tokens(self, text: str) -> list[str | int]:
        """A template's own text, cut at its special tokens: plain texts and ids, in order."""
        if text not in self._split:
            found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            parts: list[str | int] = []
            last = 0
            for token, (begin, end) in zip(found["input_ids"], found["offset_mapping"], strict=True):
                if token in self._added:
                    parts += [text[last:begin]] if begin > last else []
                    parts.append(token)
                    last = end
            parts += [text[last:]] if last < len(text) else []
            self._split[text] = parts
        return self._split[text]

    def _plain(self, text: str) -> Tokens:
        found = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        return Tokens(found["input_ids"], [tuple(span) for span in found["offset_mapping"]])

    def _behind_guard(self, text: str) -> Tokens:
        for guard in _GUARDS:
            found = self._plain(guard + text)
            begin = next((n for n, span in enumerate(found.spans) if span[0] >= len(guard)), None)
            # A guard that melted into the text's first token is none.
            if begin and all(end <= len(guard) for _, end in found.spans[:begin]):
                spans = [(first - len(guard), last - len(guard)) for first, last in found.spans[begin:]]
                return Tokens(found.ids[begin:], spans)
        return self._plain(text)

    def _text_depends_on_its_beginning(self) -> bool:
        return any(self._plain(probe).ids != self._behind_guard(probe).ids for probe in _PROBES)

    def _behind_special_is_middle(self) -> bool:
        """Whether a text behind a special token is tokenised as in the middle of another (else: as a beginning)."""
        plain = [
            token for index, token in self.tokenizer.added_tokens_decoder.items() if index in self.special
        ]
        plain = [token for token in plain if not (token.lstrip or token.rstrip or token.single_word)]
        if not plain:
            return True
        special = plain[0].content
        behind = [
            self.tokenizer(special + probe, add_special_tokens=False)["input_ids"][1:] for probe in _PROBES
        ]
        return behind != [self._plain(probe).ids for probe in _PROBES]


def written_whole(tokenizer: Any) -> str:
    """All that decides a tokenizer's tokens as one text, for hashes.

    The padding and truncation that a fast tokenizer holds are those of its last call, so they are left out.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps(tokenizer.get_vocab(), sort_keys=True)
    if backend.padding is not None or backend.truncation is not None:
        backend = type(backend).from_str(backend.to_str())
        backend.no_padding()
        backend.no_truncation()
    return str(backend.to_str())

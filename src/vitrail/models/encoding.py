"""Chat records → tokens with their layout.

The chat template is rendered with a stand-in for every piece of the record's text. The template's own pieces are
tokenised with special tokens, the record's texts without: ``"<image>"`` or ``"<|im_end|>"`` in somebody's text stays
text. Media placeholders are therefore only those that the template itself wrote, and each is expanded to the number
of visual tokens that its picture costs, known from the picture's size alone.

Learnt are the texts of assistant turns whose weight is not zero, and the special token with which the template ends
such a turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.models.layout import Modality, Speaker

_STAND_IN = re.compile("\ue000(\\d+)\ue001")
_SPEAKERS = {
    "system": Speaker.SYSTEM,
    "user": Speaker.USER,
    "assistant": Speaker.ASSISTANT,
    "tool": Speaker.TOOL,
}

TokenCoords = Callable[[int, int], np.ndarray]
"""``(width, height)`` of a picture in pixels → ``(count, 3)``: frame, row and column of each of its tokens."""


@dataclass(frozen=True)
class Encoded:
    """One record as tokens: integer arrays of one length, and the pictures that its placeholders stand for.

    ``labels`` hold the token itself where it is learnt and −100 elsewhere (not shifted); the other arrays are
    the fields of :class:`~vitrail.models.layout.Layout`.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    modality: np.ndarray
    item: np.ndarray
    frame: np.ndarray
    row: np.ndarray
    col: np.ndarray
    speaker: np.ndarray
    images: tuple[Image, ...] = ()
    root: Path | None = None
    id: str | None = None

    @property
    def length(self) -> int:
        """Number of tokens, visual ones included."""
        return len(self.input_ids)

    @property
    def labelled(self) -> int:
        """Number of tokens that are learnt."""
        return int((self.labels[1:] != -100).sum())


@dataclass
class _Tokens:
    """Columns that grow piece by piece."""

    columns: dict[str, list[int | float]] = field(
        default_factory=lambda: {
            name: []
            for name in (
                "input_ids",
                "labels",
                "weight",
                "modality",
                "item",
                "frame",
                "row",
                "col",
                "speaker",
            )
        }
    )

    def add(self, ids: Sequence[int], speaker: Speaker, weight: float) -> None:
        learnt = speaker == Speaker.ASSISTANT and weight > 0
        for token in ids:
            self._append(
                token,
                token if learnt else -100,
                weight if learnt else 0.0,
                Modality.TEXT,
                -1,
                (-1, -1, -1),
                speaker,
            )

    def add_image(self, token: int, item: int, coords: np.ndarray) -> None:
        for place in coords.tolist():
            self._append(token, -100, 0.0, Modality.IMAGE, item, tuple(place), Speaker.USER)

    def _append(
        self, token: int, label: int, weight: float, modality: int, item: int, place: Any, speaker: int
    ) -> None:
        values = (token, label, weight, modality, item, *place, speaker)
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def arrays(self) -> dict[str, np.ndarray]:
        kinds = {"weight": np.float32}
        return {
            name: np.asarray(column, dtype=kinds.get(name, np.int64)) for name, column in self.columns.items()
        }


class ChatEncoder:
    """Turns chats into tokens for one model.

    ``tokenizer`` is a fast tokenizer of transformers; ``chat_template`` a Jinja template that writes
    ``image_token`` once for each ``{"type": "image"}`` part (default: the tokenizer's); ``token_coords`` tells which
    tokens a picture of a size becomes; ``max_length`` is the most tokens a record may have.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        image_token_id: int,
        token_coords: TokenCoords,
        chat_template: str | None = None,
        max_length: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_token_id = image_token_id
        self.token_coords = token_coords
        self.chat_template = chat_template or tokenizer.chat_template
        if not self.chat_template:
            raise ValueError("this tokenizer has no chat template; give chat_template")
        self.max_length = max_length
        self._special = set(tokenizer.all_special_ids) | {
            index for index, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self._template_pieces: dict[str, list[int]] = {}

    def encode(
        self,
        chat: Chat,
        *,
        add_generation_prompt: bool = False,
        root: Path | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Encoded:
        """Tokens of a chat. ``sizes`` gives the pictures' (width, height) where the record does not.

        ValueError if the record is longer than ``max_length`` (it is never cut: a cut could go through a picture), or
        if the template did not write exactly one placeholder for each picture.
        """
        texts: list[tuple[str, Message]] = []
        rendered = self.tokenizer.apply_chat_template(
            [self._message(message, texts) for message in chat.messages],
            chat_template=self.chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        images = chat.images
        places = [self.token_coords(*size) for size in self._sizes(images, sizes, root)]
        tokens, seen, ended = _Tokens(), 0, None
        for index, piece in enumerate(_STAND_IN.split(rendered)):
            if index % 2:
                text, message = texts[int(piece)]
                tokens.add(self.text_ids(text), _SPEAKERS[message.role], message.weight)
                ended = message
                continue
            piece_ids = self._template_ids(piece)
            seen = self._add_template(tokens, piece_ids, places, seen, ended)
        if seen != len(images):
            raise ValueError(
                f"the chat template wrote {seen} image placeholders (id {self.image_token_id}) "
                f"for {len(images)} pictures"
            )
        encoded = Encoded(**tokens.arrays(), images=tuple(images), root=root, id=chat.id)
        if self.max_length is not None and encoded.length > self.max_length:
            raise ValueError(
                f"record {chat.id!r} has {encoded.length} tokens, more than max_length={self.max_length}; "
                "shorten it, raise max_length, or set such records aside"
            )
        return encoded

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a plain text, in which nothing is special."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def answer_ids(self, text: str) -> list[int]:
        """Tokens of an answer as an assistant turn holds them: the text and the token that ends the turn."""
        return self.text_ids(text) + self.end_of_turn

    @property
    def end_of_turn(self) -> list[int]:
        """The special token that the template writes behind an assistant's text; empty if there is none."""
        chat = Chat(messages=({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))  # type: ignore[arg-type]
        encoded = self.encode(chat)
        learnt = encoded.input_ids[encoded.labels != -100].tolist()
        return learnt[len(self.text_ids("b")) :]

    def _message(self, message: Message, texts: list[tuple[str, Message]]) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, Text):
                parts.append({"type": "text", "text": f"\ue000{len(texts)}\ue001"})
                texts.append((part.text, message))
            elif isinstance(part, Image):
                parts.append({"type": "image"})
            else:
                raise ValueError(
                    f"a {part.type!r} part in a {message.role} turn: this model takes text and pictures"
                )
        return {"role": message.role, "content": parts}

    def _sizes(
        self, images: Sequence[Image], sizes: Sequence[tuple[int, int]] | None, root: Path | None
    ) -> list[tuple[int, int]]:
        if sizes is not None:
            return list(sizes)
        return [
            (image.width, image.height) if image.width and image.height else image.open(root).size
            for image in images
        ]

    def _template_ids(self, piece: str) -> list[int]:
        if piece not in self._template_pieces:
            self._template_pieces[piece] = (
                self.tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
            )
        return self._template_pieces[piece]

    def _add_template(
        self, tokens: _Tokens, ids: list[int], places: list[np.ndarray], seen: int, ended: Message | None
    ) -> int:
        """Add a piece of the template; the first special token behind an assistant's text belongs to that turn."""
        open_turn = ended is not None and ended.role == "assistant"
        for token in ids:
            if token == self.image_token_id:
                if seen < len(places):
                    tokens.add_image(token, seen, places[seen])
                seen, open_turn = seen + 1, False
            elif open_turn and token in self._special:
                tokens.add([token], Speaker.ASSISTANT, ended.weight)  # type: ignore[union-attr]
                open_turn = False
            else:
                tokens.add([token], Speaker.TEMPLATE, 0.0)
        return seen

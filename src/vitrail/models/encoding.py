"""Chat records → tokens with their layout.

The model's chat template is rendered with the record's texts kept apart (:mod:`vitrail.models.rendering`):
``"<image>"`` or ``"<|im_end|>"`` in somebody's text stays text, and placeholders of pictures are only those that the
template itself wrote. Each is replaced by the spans of the picture's plan, known from its size alone. Otherwise the
tokens are those of the whole rendered chat, tokenised at once (:mod:`vitrail.models.tokenising`), with one cut at each
edge of an answer: a prompt and an answer are tokenised apart, as they are when the model answers.

Learnt are the texts of assistant turns whose weight is not zero, and the special token with which the template ends
such a turn. Where a template ends it with none, the tokenizer's end token is added and learnt.

A document has no turns: all of its text is learnt, and of the template only what it puts around a picture is seen
(:mod:`vitrail.models.documents`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.image_plans.plan import ImagePlan, ImagePlanner, Marker, plans_of
from vitrail.data.records import Chat, Document, Image, Message, Text
from vitrail.models.documents import write_beginning, write_document
from vitrail.models.layout import Speaker
from vitrail.models.rendering import ChatTemplate, Piece, Tool
from vitrail.models.token_columns import TokenColumns
from vitrail.models.tokenising import Before, PieceTokenizer

_SPEAKERS = {
    "system": Speaker.SYSTEM,
    "user": Speaker.USER,
    "assistant": Speaker.ASSISTANT,
    "tool": Speaker.TOOL,
}


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
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Number of tokens, visual ones included."""
        return len(self.input_ids)

    @property
    def labelled(self) -> int:
        """Number of tokens that are learnt."""
        return int((self.labels[1:] != -100).sum())


class ChatEncoder:
    """Turns chats into tokens for one model.

    Args:
        tokenizer: a fast tokenizer of transformers.
        image_token_id: the placeholder, one for each visual token; None for a model that takes no pictures.
        planner: what a picture of a size becomes (a :class:`~vitrail.data.image_plans.plan.ImagePlanner`).
        stand_ins: texts of which the template writes one for each picture (default: the placeholder's own).
        chat_template: a Jinja template (default: the tokenizer's).
        begins_with_bos: put the tokenizer's begin token in front of a rendered chat that has none.
        max_length: the most tokens a record may have.
        cannot_interleave: half a sentence why documents cannot have pictures among their text (default: they can).
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        image_token_id: int | None = None,
        planner: ImagePlanner | None = None,
        stand_ins: Sequence[str] = (),
        chat_template: str | None = None,
        begins_with_bos: bool = False,
        max_length: int | None = None,
        cannot_interleave: str = "",
    ) -> None:
        self.tokenizer = tokenizer
        self.cannot_interleave = cannot_interleave
        self.image_token_id = image_token_id
        self.planner = planner
        self.chat_template = chat_template or tokenizer.chat_template
        if not self.chat_template:
            raise ValueError("this tokenizer has no chat template; give chat_template")
        self.max_length = max_length
        if image_token_id is not None and not stand_ins:
            stand_ins = (tokenizer.convert_ids_to_tokens(image_token_id),)
        self._stand_in = re.compile("|".join(map(re.escape, stand_ins))) if stand_ins else None
        never = [] if image_token_id is None else [image_token_id]
        never += [tokenizer.convert_tokens_to_ids(text) for text in stand_ins]
        self._pieces = PieceTokenizer(
            tokenizer, [i for i in never if i is not None and i != tokenizer.unk_token_id]
        )
        self._template = ChatTemplate(tokenizer, self.chat_template, stand_ins[0] if stand_ins else None)
        self._bos = _leading_ids(tokenizer) if begins_with_bos else []
        self._opening, self._opened_by, self.end_of_turn, self._adds_end = self._turn()

    def encode(
        self,
        chat: Chat | Document,
        *,
        add_generation_prompt: bool = False,
        root: Path | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        tools: Sequence[Tool] = (),
    ) -> Encoded:
        """Tokens of a chat, or of a document. ``sizes`` gives the pictures' (width, height) where the record does not.
        Of a document, ``add_generation_prompt`` leaves what stands in front of it. A chat may be offered ``tools``,
        where the template :attr:`takes_tools`.

        ValueError if the record is longer than ``max_length`` (it is never cut: a cut could go through a picture), if
        the template did not write exactly one placeholder for each picture, or if it does not take the chat.
        """
        images = chat.images
        if images and self.planner is None:
            raise ValueError(f"the {chat.kind} has {len(images)} pictures, but this model takes none")
        tokens = TokenColumns(self._pieces)
        if isinstance(chat, Document) and add_generation_prompt:
            write_beginning(tokens)
            return Encoded(**tokens.arrays(), images=(), root=root, id=chat.id, meta=chat.meta)
        plans = plans_of(self.planner, self._sizes(images, sizes, root)) if self.planner is not None else []
        if isinstance(chat, Document):
            self._write_document(tokens, chat, plans)
        else:
            self._write_chat(tokens, chat, plans, add_generation_prompt, tools)
        return self._checked(
            Encoded(**tokens.arrays(), images=tuple(images), root=root, id=chat.id, meta=chat.meta)
        )

    def _write_document(self, tokens: TokenColumns, document: Document, plans: list[ImagePlan]) -> None:
        if plans and self.cannot_interleave:
            raise ValueError(
                f"documents with pictures are not for this model: {self.cannot_interleave}; give conversations"
            )
        write_document(
            tokens, document, lambda n: self._add_template(tokens, self._picture_text, plans, n, None)
        )

    @cached_property
    def _picture_text(self) -> str:
        """How a picture stands among texts: the template's own text for one, and the special tokens around that."""
        assert self._stand_in is not None
        user = {"role": "user", "content": (Text(text="a"), Image(path="picture"), Text(text="b"))}
        pieces = self._template.render(Chat(messages=(user,)))  # type: ignore[arg-type]
        first, second = (place for place, piece in enumerate(pieces) if piece.message is not None)
        between = "".join(piece.text for piece in pieces[first + 1 : second])
        found = self._stand_in.search(between)
        if found is None:  # pictures stand before all texts of a turn
            return str(self._template.picture)
        before = self._pieces.at_special_tokens(between[: found.start()])
        behind = self._pieces.at_special_tokens(between[found.end() :])
        opening = list(takewhile(lambda part: isinstance(part, int), reversed(before)))[::-1]
        closing = list(takewhile(lambda part: isinstance(part, int), behind))
        own = self.tokenizer.convert_ids_to_tokens
        return "".join([*own(opening), found[0], *own(closing)])

    @property
    def takes_tools(self) -> bool:
        """Whether the chat template shows tools to the model."""
        return self._template.takes_tools

    def _write_chat(
        self,
        tokens: TokenColumns,
        chat: Chat,
        plans: list[ImagePlan],
        add_generation_prompt: bool,
        tools: Sequence[Tool],
    ) -> None:
        pieces = self._template.render(chat, add_generation_prompt=add_generation_prompt, tools=tools)
        own = pieces[0].text if pieces and pieces[0].message is None else ""
        if self._bos and not (self.tokenizer.bos_token and own.startswith(self.tokenizer.bos_token)):
            for token in self._bos:
                tokens.special(token, Speaker.TEMPLATE)
            tokens.before = "nothing"
        seen = self._add(tokens, pieces, plans)
        if seen != len(chat.images):
            raise ValueError(
                f"the chat template wrote {seen} image placeholders (id {self.image_token_id}) "
                f"for {len(chat.images)} pictures"
            )

    def _checked(self, encoded: Encoded) -> Encoded:
        if self.max_length is not None and encoded.length > self.max_length:
            raise ValueError(
                f"record {encoded.id!r} has {encoded.length} tokens, more than max_length={self.max_length}; "
                "shorten it, raise max_length, or set such records aside"
            )
        return encoded

    def behind_pictures(
        self, images: Sequence[Image], text: Mapping[str, np.ndarray], root: Path | None = None
    ) -> Encoded:
        """Pictures, with the special tokens that the template puts around one, and ready columns of tokens behind them.

        What the tokenizer begins a text with stands in front. ValueError for a model that takes no pictures.
        """
        if self.planner is None:
            raise ValueError(f"there are {len(images)} pictures, but this model takes none")
        tokens = TokenColumns(self._pieces)
        for token in self._bos:
            tokens.special(token, Speaker.TEMPLATE)
        plans = plans_of(self.planner, self._sizes(images, None, root))
        for number in range(len(images)):
            self._add_template(tokens, self._picture_text, plans, number, None)
        columns: dict[str, Any] = {
            name: np.concatenate([column, text[name]]) for name, column in tokens.arrays().items()
        }
        return Encoded(**columns, images=tuple(images), root=root)

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a text as an assistant's turn begins with it; nothing in it is special."""
        return list(self._pieces(self._opening + text if text else "", self._opened_by).ids)

    def answer_ids(self, text: str) -> list[int]:
        """Tokens of an answer as an assistant turn holds them: the text and the token that ends the turn."""
        return self.text_ids(text) + self.end_of_turn

    def _add(self, tokens: TokenColumns, pieces: list[Piece], plans: list[ImagePlan]) -> int:
        """Add the pieces; returns how many placeholders of pictures the template wrote."""
        seen, answering = 0, None
        for index, piece in enumerate(pieces):
            following = next((later.message for later in pieces[index + 1 :] if later.message), None)
            if piece.message is not None:
                if piece.message.role == "assistant" and answering is not piece.message:
                    tokens.cut()
                    answering = piece.message
                text = tokens.take_opening() + piece.text
                tokens.text(text, _SPEAKERS[piece.message.role], piece.message.weight)
                if answering is not None and following is not answering:
                    self._end(tokens, answering)
                continue
            text = piece.text
            begins = following is not None and following.role == "assistant" and following is not answering
            if begins and self._opening and text.endswith(self._opening) and pieces[index + 1].text:
                text = text[: -len(self._opening)]
                tokens.opening = self._opening
            ended = answering if following is not answering else None
            answering = answering if ended is None else None
            seen = self._add_template(tokens, text, plans, seen, ended)
        return seen

    def _end(self, tokens: TokenColumns, message: Message) -> None:
        """Behind an answer: nothing of the template may melt into it."""
        tokens.cut()
        if self._adds_end:
            tokens.special(self.end_of_turn[0], Speaker.ASSISTANT, message.weight)

    def _add_template(
        self, tokens: TokenColumns, text: str, plans: list[ImagePlan], seen: int, ended: Message | None
    ) -> int:
        """Add a template's own text; a special token right behind an answer belongs to that turn."""
        open_turn = ended if not self._adds_end else None
        for part in self._with_spans(text, plans, seen):
            if isinstance(part, tuple):
                seen, coords = part
                if coords is not None:
                    tokens.picture(self.image_token_id or 0, seen - 1, coords)
                    open_turn = None
                continue
            for piece in self._pieces.at_special_tokens(part):
                if isinstance(piece, str):
                    tokens.text(piece, Speaker.TEMPLATE, 0.0)
                    open_turn = open_turn if not piece.strip() else None
                elif open_turn is not None:
                    tokens.special(piece, Speaker.ASSISTANT, open_turn.weight)
                    open_turn = None
                else:
                    tokens.special(piece, Speaker.TEMPLATE)
        return seen

    def _with_spans(
        self, text: str, plans: list[ImagePlan], seen: int
    ) -> Iterator[str | tuple[int, np.ndarray | None]]:
        """A template's text with markers in place; a tuple (placeholders seen, coordinates) for each visual run."""
        parts = self._stand_in.split(text) if self._stand_in is not None else [text]
        own = parts[0]
        for behind in parts[1:]:
            seen += 1
            if seen > len(plans):
                yield (seen, None)
                continue
            for span in plans[seen - 1].spans:
                if isinstance(span, Marker):
                    own += span.text
                    continue
                yield own
                yield (seen, span.coords)
                own = ""
            own += behind
        yield own

    def _turn(self) -> tuple[str, Before, list[int], bool]:
        """What the template does around an answer.

        The text between the generation prompt and an answer, which the model has to write itself ("ASSISTANT:" and a
        space); what the answer follows; the token that ends it; and whether that has to be added.
        """
        user = {"role": "user", "content": "a"}
        asked = Chat(messages=(user,))  # type: ignore[arg-type]
        answered = Chat(messages=(user, {"role": "assistant", "content": "b"}))  # type: ignore[arg-type]
        prompt = "".join(p.text for p in self._template.render(asked, add_generation_prompt=True))
        pieces = self._template.render(answered)
        place = next((n for n, p in enumerate(pieces) if p.message and p.message.role == "assistant"), None)
        if place is None:
            raise ValueError("the chat template does not render the text of an assistant's message")
        before = "".join(piece.text for piece in pieces[:place])
        opening = before.removeprefix(prompt) if before.startswith(prompt) else ""
        if any(isinstance(part, int) for part in self._pieces.at_special_tokens(opening)):
            opening = ""
        cut = self._pieces.at_special_tokens(before.removesuffix(opening) if opening else before)
        follows: Before = "text" if cut and isinstance(cut[-1], str) else "special" if cut else "nothing"
        behind = "".join(piece.text for piece in pieces[place + 1 :])
        parts = self._pieces.at_special_tokens(behind)
        parts = parts[1:] if parts and isinstance(parts[0], str) and not parts[0].strip() else parts
        if parts and isinstance(parts[0], int):
            return opening, follows, [parts[0]], False
        end = self.tokenizer.eos_token_id
        return opening, follows, [] if end is None else [end], end is not None

    def _sizes(
        self, images: Sequence[Image], sizes: Sequence[tuple[int, int]] | None, root: Path | None
    ) -> list[tuple[int, int]]:
        if sizes is not None:
            return list(sizes)
        return [
            (image.width, image.height) if image.width and image.height else image.open(root).size
            for image in images
        ]


def _leading_ids(tokenizer: Any) -> list[int]:
    """The tokens that the tokenizer puts in front of a text by itself."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for count in range(len(whole) - len(plain) + 1):
        if whole[count : count + len(plain)] == plain:
            return whole[:count]
    return []

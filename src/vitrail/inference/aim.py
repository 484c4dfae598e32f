"""AIM at inference: a chat's demonstrations are read apart, once, and stand in the prompt as rows (arXiv 2406.07588).

Demonstrations are the exchanges in front of a question, or come from a file. The model must have undergone the surgery
``aim`` (:mod:`vitrail.models.surgery.aim`); what it read is kept in a bank, and taken from there the next time
(:mod:`vitrail.inference.demonstration_bank`). Each is read by itself, so its rows are the same bits in whatever prompt.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vitrail.data.demonstrations import APART, exchanges, shown
from vitrail.data.records import Chat, Image, Message
from vitrail.inference.demonstration_bank import DemonstrationBank
from vitrail.inference.methods import InferenceMethod, Rewritten
from vitrail.models.logits import unwrapped
from vitrail.models.surgery.reading_apart import ROWS, Demonstrations, fused, readings, text_length
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded


class AIM(InferenceMethod):
    """See the module."""

    changes: ClassVar[str] = "the demonstrations of the prompt"

    class Config(BaseModel):
        """``demonstrations``: a file of answered chats with pictures (docs/data.md) that stand in front of every
        question; default: the chat's own exchanges, where both they and the question have pictures. ``k``: how many of
        them, the first. ``bank``: a folder that keeps what was read (default: memory).
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        demonstrations: str | None = Field(default=None, min_length=1)
        k: int | None = Field(default=None, ge=0)
        bank: str | None = Field(default=None, min_length=1)

    def __init__(self, config: Config | None = None, bank: DemonstrationBank | None = None) -> None:
        self.config = config or self.Config()
        self._given = bank
        self._made_by: tuple[Any, str] | None = None

    @cached_property
    def bank(self) -> DemonstrationBank:
        """Where rows are kept."""
        return self._given if self._given is not None else DemonstrationBank(self.config.bank)

    @cached_property
    def _from_file(self) -> list[tuple[Message, Message]]:
        from vitrail.data.readers import open_source

        source = open_source(str(self.config.demonstrations))
        found: list[tuple[Message, Message]] = []
        for record in source:
            if not isinstance(record, Chat):
                raise ValueError(
                    f"{source.name} holds records that are no chats; demonstrations are answered chats"
                )
            turns = [one for one in record.messages if one.role != "system"]
            pairs = list(zip(turns[::2], turns[1::2], strict=False))
            found += [(_held(asked, source.root), answered) for asked, answered in pairs]
        if not found or (self.config.k or 0) > len(found):
            raise ValueError(
                f"{source.name} holds {len(found)} demonstrations, and {self.config.k or 1} are asked for"
            )
        return found[: self.config.k]

    def rewrite(self, bundle: Bundle, chat: Chat, root: Path | None) -> Rewritten:
        """The chat with its demonstrations apart and ready rows; the trace says how many.

        ValueError for a model without the surgery, and for demonstrations without picture or text.
        """
        _require_surgery(bundle)
        if not chat.meta.get(APART):
            chat = self._apart(chat)
        k = len(chat.meta.get(APART) or ())
        if not k:
            return Rewritten(chat)
        prompt = bundle.encoder.encode(chat, add_generation_prompt=True, root=root)
        rows = [self.rows(bundle, reading) for _, reading in readings(bundle, prompt)]
        return Rewritten(chat.model_copy(update={"meta": {**chat.meta, ROWS: rows}}), {"demonstrations": k})

    def require_live(self, bundle: Bundle) -> None:
        """ValueError for a model without the surgery, or a file without demonstrations."""
        _require_surgery(bundle)
        if self.config.demonstrations is not None:
            _ = self._from_file

    def rows(self, bundle: Bundle, reading: Encoded) -> Tensor:
        """The rows ``(tokens, hidden)`` of one demonstration, from the bank where they are there."""
        name = DemonstrationBank.key(reading, self._maker(bundle))
        found = self.bank.get(name)
        if found is None:
            found = read_one(bundle, reading)
            self.bank.put(name, found)
        return found

    def _apart(self, chat: Chat) -> Chat:
        if self.config.demonstrations is not None:
            system = tuple(one for one in chat.messages if one.role == "system")
            rest = tuple(one for one in chat.messages if one.role != "system")
            before = tuple(turn for pair in self._from_file for turn in pair)
            chat = chat.model_copy(update={"messages": (*system, *before, *rest)})
            return shown(chat, "apart", len(self._from_file))
        pictured = any(isinstance(part, Image) for part in chat.messages[-1].content)
        k = exchanges(chat) if pictured and len(chat.images) > 1 else 0
        return shown(chat, "apart", k if self.config.k is None else min(k, self.config.k))

    def _maker(self, bundle: Bundle) -> str:
        """A fingerprint of the model as it is now; of its weights where the bank outlives this process."""
        model = unwrapped(bundle.model)
        own = model.__dict__.setdefault("_vitrail_reader", uuid4().hex)  # an id alone may be used again
        stamp = (own, id(model), [parameter._version for parameter in model.parameters()])
        if self._made_by is None or self._made_by[0] != stamp:
            from vitrail.models.frozen import weights_fingerprint

            aim: Any = model.aim
            said = aim.config.model_dump(mode="json")
            made = key("reader", said, *stamp if self.bank.path is None else [weights_fingerprint(model)])
            self._made_by = (stamp, made)
        return self._made_by[1]


def _require_surgery(bundle: Bundle) -> None:
    if not hasattr(unwrapped(bundle.model), "aim"):
        raise ValueError(
            f"{bundle.name} has not undergone the surgery 'aim', so it reads no demonstrations apart; do it in a "
            "recipe (model.surgeries) and train its projection"
        )


@torch.no_grad()
def read_one(bundle: Bundle, reading: Encoded) -> Tensor:
    """The rows of one demonstration, on the CPU: read by itself, so that they depend on nothing beside it."""
    model: Any = unwrapped(bundle.model)
    one = torch.zeros(1, dtype=torch.long)
    length = torch.tensor([text_length(reading)])
    found = Demonstrations(1, one, one, length, readings=(bundle.collator("right")([reading]),))
    return fused(model, found.to(bundle.device), model.forward).detach().cpu()


def _held(message: Message, root: Path | None) -> Message:
    """Its pictures as bytes: they stand beside questions of another folder."""
    content = tuple(Image(bytes=one.read(root)) if isinstance(one, Image) else one for one in message.content)
    return message.model_copy(update={"content": content})

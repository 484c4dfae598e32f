"""A conversation with pictures: history, undo, saving, and what happens when the context is full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.media import why_unreadable
from vitrail.data.readers import open_source, write_jsonl
from vitrail.data.records import Chat, Image, Message, Text
from vitrail.inference.generation import GenerationSettings, Stream, require_room

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

Overflow = Literal["error", "drop_oldest"]


class Conversation:
    """Turns between a user and a model.

    ``overflow`` says what happens when history and answer exceed the model's context: ``"error"`` refuses the
    turn, ``"drop_oldest"`` leaves whole exchanges out of what the model sees, the oldest first, never the
    system message nor the present turn. The history keeps everything, and a picture is never cut. ``dropped``
    tells how many exchanges the last answer was given without.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: GenerationSettings | None = None,
        system: str | None = None,
        overflow: Overflow = "error",
    ) -> None:
        self.bundle = bundle
        self.settings = settings or GenerationSettings(max_new_tokens=128)
        self.overflow: Overflow = overflow
        self.dropped = 0
        self._system = (_message("system", system),) if system else ()
        self._turns: list[Message] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole history, the system message first."""
        return (*self._system, *self._turns)

    @property
    def chat(self) -> Chat:
        """The history as a record. ValueError while it is empty."""
        if not self.messages:
            raise ValueError("nothing was said yet, so there is no conversation to keep")
        return Chat(messages=self.messages)

    def say(self, text: str, images: Sequence[Path | str | Image] = ()) -> Iterator[str]:
        """Say something, with pictures in front of it; yields the answer piece by piece.

        Pictures are files or :class:`~vitrail.data.records.Image` parts; files are read now, so that the
        history does not change with them. ValueError for a picture that cannot be read, or a full context:
        then the history is as before. If the caller stops listening, what was said so far stays in the
        history.
        """
        question = Message(role="user", content=(*(_picture(image) for image in images), Text(text=text)))
        stream = Stream(self.bundle, self._prompt(question), self.settings)
        pieces: list[str] = []
        try:
            for piece in stream:
                pieces.append(piece)
                yield piece
        except (GeneratorExit, KeyboardInterrupt):
            stream.cancel()
            if pieces:
                self._keep(question, pieces)
            raise
        self._keep(question, pieces)

    def undo(self) -> None:
        """Take back the last question and its answer. ValueError if there is none."""
        if not self._turns:
            raise ValueError("there is nothing to take back")
        while self._turns and self._turns.pop().role != "user":
            pass

    def reset(self) -> None:
        """Begin anew; the system message stays."""
        self._turns.clear()
        self.dropped = 0

    def save(self, path: Path | str) -> None:
        """Write the history as one chat record in a JSONL file, pictures inside, atomically."""
        write_jsonl([self.chat], path, images="inline")

    @classmethod
    def load(cls, path: Path | str, bundle: Bundle, **options: Any) -> Conversation:
        """Go on with the last chat of a JSONL file; ``options`` are the constructor's. ValueError if there is
        none.
        """
        source = open_source(path)
        chat = source[len(source) - 1] if len(source) else None
        if not isinstance(chat, Chat):
            raise ValueError(f"{path} holds no chat to go on with")
        conversation = cls(bundle, **options)
        messages = [_with_bytes(message, source.root) for message in chat.messages]
        if messages[0].role == "system":
            conversation._system = (messages.pop(0),)
        roles = [message.role for message in messages]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError(
                f"the last chat of {path} does not alternate between user and assistant "
                f"(roles: {', '.join(roles)}); it must end with an answer"
            )
        conversation._turns = messages
        return conversation

    def _keep(self, question: Message, pieces: list[str]) -> None:
        self._turns += [question, _message("assistant", "".join(pieces).strip())]

    def _prompt(self, question: Message) -> Any:
        """The encoded history with the question, or as many of its latest exchanges as fit."""
        for dropped in range(len(self._turns) // 2 + 1):
            chat = Chat(messages=(*self._system, *self._turns[2 * dropped :], question))
            last = self.overflow == "error" or 2 * dropped == len(self._turns)
            try:
                prompt = self.bundle.encoder.encode(chat, add_generation_prompt=True)
                require_room(self.bundle, prompt, self.settings)
                self.dropped = dropped
                return prompt
            except ValueError:
                if last:
                    raise
        raise AssertionError("the last attempt returns or raises")


def _message(role: Literal["system", "user", "assistant"], text: str) -> Message:
    return Message(role=role, content=(Text(text=text),))


def _picture(image: Path | str | Image) -> Image:
    part = image if isinstance(image, Image) else Image(path=str(image))
    return _read(part, None)


def _read(part: Image, root: Path | None) -> Image:
    """The picture with its bytes and size. ValueError if it cannot be decoded."""
    problem = why_unreadable(part, root)
    if problem is not None:
        raise ValueError(f"the picture cannot be used: {problem}")
    width, height = part.open(root).size
    return Image(bytes=part.read(root), width=width, height=height)


def _with_bytes(message: Message, root: Path | None) -> Message:
    content = tuple(_read(part, root) if isinstance(part, Image) else part for part in message.content)
    return message.model_copy(update={"content": content})

"""Who answers chats in words: a model here, a model at an address, or a function.

Loops and curation ask an :class:`Answerer` and do not know which it is. One at an address is
:class:`vitrail.inference.remote.RemoteAnswerer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vitrail.data.records import Chat, Media
from vitrail.inference.generation import GenerationSettings, Reply
from vitrail.storage import atomic
from vitrail.storage.cache import default_root, key

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


class Answerer(Protocol):
    """Answers chats that end with a user's turn. ``name`` is for logs; equal questions get equal answers."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def ask(
        self, chats: Sequence[Chat], settings: GenerationSettings | None = None, *, root: Path | None = None
    ) -> list[Reply]:
        """One reply a chat, in order. ``root``: where relative paths of pictures begin."""
        ...


class ModelAnswerer:
    """A model of this machine: a bundle, or the folder or hub name of one, loaded when it is first asked.

    Batches of up to ``batch_size`` chats; :meth:`release` takes the model out of memory until it is asked again.
    """

    def __init__(self, model: Bundle | str | Path, *, batch_size: int = 16, dtype: Any = None) -> None:
        self._given, self._batch_size, self._dtype = model, batch_size, dtype
        self._bundle: Bundle | None = None if isinstance(model, (str, Path)) else model

    @property
    def name(self) -> str:
        """The model's."""
        return str(self._given) if isinstance(self._given, (str, Path)) else self._given.name

    @property
    def bundle(self) -> Bundle:
        """The model with what feeds it; loaded now if it was not."""
        if self._bundle is None:
            from vitrail.models.loading import load

            self._bundle = load(str(self._given), dtype=self._dtype)
        return self._bundle

    def release(self) -> None:
        """Leave memory, where the model can be loaded again."""
        if isinstance(self._given, (str, Path)):
            self._bundle = None

    def ask(
        self, chats: Sequence[Chat], settings: GenerationSettings | None = None, *, root: Path | None = None
    ) -> list[Reply]:
        """Its answers. ValueError where a chat and its answer do not fit into the model's context."""
        from vitrail.inference.generation import generate

        return generate(self.bundle, chats, settings, root=root, batch_size=self._batch_size)


class FunctionAnswerer:
    """Answers from a function of the chat: a program that knows the truth, or a stand-in."""

    def __init__(self, function: Callable[[Chat], str], name: str = "function") -> None:
        self._function, self.name = function, name

    def ask(
        self, chats: Sequence[Chat], settings: GenerationSettings | None = None, *, root: Path | None = None
    ) -> list[Reply]:
        """The function's answers, all of them finished."""
        return [Reply(self._function(chat), (), True) for chat in chats]


def question(text: str, system: str | None = None, images: Sequence[Any] = ()) -> Chat:
    """A chat of one user's turn: pictures, then ``text``."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": (*images, {"type": "text", "text": text})})
    return Chat(messages=tuple(turns))  # type: ignore[arg-type]


class KeptAnswerer:
    """An answerer whose answers are kept in a folder, so that an equal question to an equal name is asked once.

    For models of this machine; one at an address keeps its own. What a name stands for must not change.
    """

    def __init__(self, inner: Answerer, folder: Path | str | None = None) -> None:
        self._inner = inner
        self._folder = Path(folder) if folder is not None else default_root() / "answers"

    @property
    def name(self) -> str:
        """The inner one's."""
        return self._inner.name

    def ask(
        self, chats: Sequence[Chat], settings: GenerationSettings | None = None, *, root: Path | None = None
    ) -> list[Reply]:
        """Answers in order; only those that are not kept are asked for, all at once."""
        chosen = settings or GenerationSettings()
        paths = [self._path(chat, chosen, root) for chat in chats]
        missing = [place for place, path in enumerate(paths) if not path.exists()]
        asked = self._inner.ask([chats[place] for place in missing], chosen, root=root) if missing else ()
        for place, reply in zip(missing, asked, strict=True):
            kept = {"text": reply.text, "tokens": list(reply.tokens), "finished": reply.finished}
            atomic.write_json(paths[place], kept)
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return [Reply(one["text"], tuple(one["tokens"]), one["finished"]) for one in found]

    def _path(self, chat: Chat, settings: GenerationSettings, root: Path | None) -> Path:
        said = [
            [message.role, *(_content(part, root) for part in message.content)] for message in chat.messages
        ]
        name = key("answer", self.name, settings.model_dump(), said)
        return self._folder / name[:2] / f"{name}.json"


def _content(part: Any, root: Path | None) -> Any:
    return key(part.read(root)) if isinstance(part, Media) else part.model_dump(mode="json")
